"""/webhooks/{trigger id}: anybody may come; what they have to show is the trigger's to say."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from executions.api import limits
from executions.api.limits import Budget
from triggers import webhooks
from triggers.webhooks.answers import Answer, Request


# A signature shows where a request comes from; no cookie is looked at.
@csrf_exempt
def webhook(request: HttpRequest, trigger_id: str) -> HttpResponse:
    """Takes a request in, of any method; tells a browser beforehand whether it may come."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    if request.method == "OPTIONS" and "access-control-request-method" in headers:
        return _response(webhooks.preflight(trigger_id, headers))

    def charge(budget: Budget, subject: str) -> None:
        limits.charge(request, budget=budget, subject=subject)

    given = Request(
        method=str(request.method),
        path=request.path,
        query=request.META.get("QUERY_STRING", ""),
        headers=headers,
        read=request.read,
        charge=charge,
        ip=request.META.get("REMOTE_ADDR") or "",
    )
    return _response(webhooks.receive(trigger_id, given))


def _response(answer: Answer) -> HttpResponse:
    if answer.content is None:
        return HttpResponse(status=answer.status, headers=dict(answer.headers))
    return JsonResponse(answer.content, status=answer.status, headers=dict(answer.headers))
