"""Wait tokens: create, complete, look at them; and the address that completes one by itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar, Final

from django.conf import settings
from django.db.models import QuerySet
from django.http import QueryDict
from rest_framework.request import Request
from rest_framework.response import Response

from executions import callback_secrets, callbacks, public_access, reviews, tokens
from executions.access import Scope
from executions.api.base import ApiView
from executions.api.management.base import (
    ManagementView,
    body_of,
    iso,
    looks_like_a_moment,
    moment_of,
    only,
    some,
    text_of,
    whole,
)
from executions.errors import Invalid, NotFound, TooLarge
from executions.inspection import token_lists
from executions.inspection.token_lists import DEFAULT_SIZE, MAX_SIZE, Filters
from executions.models import WaitToken
from executions.rules import durations
from executions.rules.ids import has_prefix
from executions.rules.statuses import TokenStatus
from executions.rules.values import encode

Json = Any

DEFAULT_TIMEOUT: Final = "10m"
_CREATE: Final = ("timeout", "tags", "idempotencyKey", "idempotencyKeyTTL")
_FILTERS: Final = (
    "filter[status]", "filter[tags]", "filter[idempotencyKey]", "filter[createdAt][period]",
    "filter[createdAt][from]", "filter[createdAt][to]", "page[size]", "page[after]",
    "page[before]",
)  # fmt: skip


class TokenView(ManagementView):
    """A view about wait tokens."""

    def tokens(self) -> QuerySet[WaitToken]:
        """The tokens that the caller sees."""
        return self.caller.visible(WaitToken.objects.all())

    def find(self, token_id: str) -> WaitToken:
        """The token, if the caller sees it. Raises NotFound."""
        found = None
        if has_prefix(token_id, "waitpoint"):
            found = self.tokens().filter(pk=token_id).first()
        if found is None:
            raise NotFound(f"There is no wait token {token_id!r}.", field="token")
        return found


class Tokens(TokenView):
    """GET and POST /api/v1/waitpoints/tokens"""

    scopes: ClassVar = {"GET": Scope.READ, "POST": Scope.TRIGGER}

    def get(self, request: Request) -> Response:
        """A page of tokens, newest first; without their outputs."""
        query = request.query_params
        page = token_lists.page(
            self.tokens(), _filters(query), after=query.get("page[after]") or None,
            before=query.get("page[before]") or None,
            size=whole(
                query.get("page[size]"), field="page[size]", default=DEFAULT_SIZE, most=MAX_SIZE
            ),
        )  # fmt: skip
        return Response(
            {
                "data": [_listed(token) for token in page.tokens],
                "pagination": some(next=page.next, previous=page.previous),
            }
        )

    def post(self, request: Request) -> Response:
        """A new token with its address, which is shown here only."""
        body = body_of(request)
        only(body, *_CREATE)
        tags = body.get("tags")
        made = tokens.create(
            timeout=_timeout(text_of(body, "timeout") or DEFAULT_TIMEOUT),
            tags=[tags] if isinstance(tags, str) else tags or (),
            idempotency_key=text_of(body, "idempotencyKey"),
            idempotency_key_ttl=text_of(body, "idempotencyKeyTTL"),
            owner=self.caller.user_id,
            workspace=self.caller.workspace_id,
        )
        response = Response({"id": made.id, "isCached": made.is_cached, "url": made.url})
        scopes = [f"write:waitpoints:{made.id}"]
        for name, value in public_access.headers(
            self.caller, scopes, seconds=public_access.DAY
        ).items():
            response[name] = value
        return response

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """To list: whoever may read all tokens."""
        assert self.caller.grants is not None
        return request.method == "GET" and self.caller.grants.allows("read", "waitpoints")


class Token(TokenView):
    """GET /api/v1/waitpoints/tokens/{id}"""

    scopes: ClassVar = {"GET": Scope.READ}

    def get(self, request: Request, token_id: str) -> Response:
        """The token with its outcome."""
        return Response(_retrieved(self.find(token_id)))

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """Whoever may read this token."""
        assert self.caller.grants is not None
        return self.caller.grants.allows("read", "waitpoints", kwargs["token_id"])


class Complete(TokenView):
    """POST /api/v1/waitpoints/tokens/{id}/complete"""

    scopes: ClassVar = {"POST": Scope.COMPLETE}

    def post(self, request: Request, token_id: str) -> Response:
        """Completes the token; one that has its outcome keeps it."""
        body = body_of(request)
        only(body, "data")
        token = self.find(token_id)
        if token.status == TokenStatus.WAITING:
            try:
                reviews.complete_token(token.id, body.get("data"), actor=self.caller.actor)
            except tokens.TokenClosed:
                # Somebody else was faster: their outcome stays, as if this one had come later.
                pass
        return Response({"success": True})

    def public_access(self, request: Request, **kwargs: Any) -> bool:
        """Whoever may complete this token."""
        assert self.caller.grants is not None
        return self.caller.grants.allows("write", "waitpoints", kwargs["token_id"])


class Callback(ApiView):
    """POST /api/v1/waitpoints/tokens/{id}/callback/{secret}: the address itself is the permission.

    No other method is answered: programs that look at the links in mails complete nothing.
    """

    authentication_classes = ()
    permission_classes = ()  # type: ignore[assignment]
    http_method_names = ("post",)

    def post(self, request: Request, token_id: str, secret: str) -> Response:
        """Completes the token with the body, whatever type it says it is of."""
        callbacks.answer(token_id, secret, _read(request))
        return Response({"success": True})

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Whatever the sender would like to read."""
        return super().perform_content_negotiation(request, force=True)


# ---- in -----------------------------------------------------------------------------------------


def _read(request: Request) -> bytes:
    """The body. Raises TooLarge; a length that is announced is not waited for."""
    limit = settings.FLOWMAESTRO.PAYLOAD_LIMIT
    announced = str(request.META.get("CONTENT_LENGTH") or "0")
    is_long = announced.isdigit() and int(announced[:20]) > limit
    body: bytes = b"" if is_long else request._request.read(limit + 1)
    if is_long or len(body) > limit:
        raise TooLarge(f"The body is over the limit of {limit:,} bytes; send less of it.")
    return body


def _timeout(value: str) -> str | datetime:
    return moment_of(value, field="timeout") if looks_like_a_moment(value) else value


def _filters(query: QueryDict) -> Filters:
    """The filters of a query. Raises Invalid naming one that is wrong, or that there is not."""
    given = {name: str(query[name]) for name in query if query[name] != ""}
    for name in given:
        if name not in _FILTERS:
            raise Invalid(
                f"There is no filter {name!r}; there are {', '.join(_FILTERS)}.", field=name
            )

    def many(name: str) -> list[str] | None:
        return given[name].split(",") if name in given else None

    def moment(name: str) -> datetime | None:
        return moment_of(given[name], field=name) if name in given else None

    period = given.get("filter[createdAt][period]")
    return Filters(
        statuses=many("filter[status]"),
        tags=many("filter[tags]"),
        idempotency_key=given.get("filter[idempotencyKey]"),
        since=moment("filter[createdAt][from]"),
        until=moment("filter[createdAt][to]"),
        period=None
        if period is None
        else timedelta(seconds=durations.seconds(period, field="filter[createdAt][period]")),
    )


# ---- out ----------------------------------------------------------------------------------------


def _listed(token: WaitToken) -> dict[str, Json]:
    return {
        "id": token.id,
        # Clients insist on a text. This one completes nothing.
        "url": callback_secrets.hidden_address(token.id),
        "status": token.status,
        "tags": token.tags,
        "createdAt": iso(token.created_at),
        **some(
            completedAt=_iso(token.completed_at),
            timeoutAt=_iso(token.timeout_at),
            idempotencyKey=token.idempotency_key,
            idempotencyKeyExpiresAt=_iso(token.idempotency_expires_at),
        ),
    }


def _retrieved(token: WaitToken) -> dict[str, Json]:
    shown = _listed(token)
    if token.status == TokenStatus.COMPLETED:
        shown["output"] = encode(token.output, field="output")
    elif token.status == TokenStatus.TIMED_OUT:
        shown["output"] = encode({"message": f"Wait token {token.id} timed out."}, field="output")
        shown["outputIsError"] = True
    if "output" in shown:
        shown["outputType"] = "application/json"
    return shown


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
