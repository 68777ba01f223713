"""API keys and error responses."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.http import Http404
from django.urls import path
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from executions.errors import Conflict, Invalid, NotFound, TooLarge, Unavailable
from flowmaestro.models import ApiKey

ERRORS = {
    "not-found": NotFound("There is no run run_1."),
    "invalid": Invalid("A delay is not negative.", field="delay"),
    "too-large": TooLarge("The payload has 4 MB; 3 MB is the limit.", field="payload"),
    "conflict": Conflict("The token was completed before.", code="token_closed"),
    "unavailable": Unavailable("The database does not answer."),
    "404": Http404(),
    "bad-field": serializers.ValidationError({"tags": ["At most 10 tags."]}),
}


class Failing(APIView):
    """Answers with who calls, or raises the error that the address names."""

    def get(self, request, name):
        """The caller, unless an error is asked for."""
        if name in ERRORS:
            raise ERRORS[name]
        return Response(
            {
                "user": request.user.username,
                "caller": request.auth.name,
            }
        )


urlpatterns = [path("<str:name>", Failing.as_view())]
pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


@pytest.fixture
def user():
    """Somebody with an account."""
    return get_user_model().objects.create_user("ada")


@pytest.fixture
def client(user):
    """A client that carries ada's API key."""
    _, key = ApiKey.issue(user, name="ci", scopes=["*"])
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    return client


def test_a_key_identifies_its_user_and_its_use_is_noted(client):
    assert client.get("/me").json() == {"user": "ada", "caller": "ada, key 'ci'"}
    assert ApiKey.objects.get().last_used_at is not None


def test_only_the_hash_of_a_key_is_stored(user):
    row, key = ApiKey.issue(user, name="ci", scopes=["*"])
    stored = " ".join(str(value) for value in ApiKey.objects.filter(pk=row.pk).values_list()[0])
    assert key not in stored
    assert key.startswith(row.prefix)


def test_a_caller_without_a_key_gets_401():
    answer = APIClient().get("/me")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["success"] is False


@pytest.mark.parametrize("state", ["unknown", "revoked", "inactive"])
def test_a_key_that_does_not_count_gets_401(client, user, state):
    if state == "unknown":
        client.credentials(HTTP_AUTHORIZATION="Bearer fm_\xff_nonsense")
    elif state == "revoked":
        ApiKey.objects.update(revoked_at="2026-01-01T00:00Z")
    else:
        get_user_model().objects.update(is_active=False)
    answer = client.get("/me")
    assert answer.status_code == 401
    assert answer.json()["code"] == "authentication_failed"


@pytest.mark.parametrize(
    ("name", "status", "code", "details"),
    [
        ("not-found", 404, "not_found", {}),
        ("invalid", 400, "invalid", {"field": "delay"}),
        ("too-large", 413, "too_large", {"field": "payload"}),
        ("conflict", 409, "token_closed", {}),
        ("unavailable", 503, "unavailable", {}),
        ("404", 404, "not_found", {}),
        ("bad-field", 400, "invalid", {"tags": ["At most 10 tags."]}),
    ],
)
def test_each_family_of_errors_has_its_response(client, name, status, code, details):
    answer = client.get(f"/{name}")
    assert answer.status_code == status
    body = answer.json()
    assert body == {"success": False, "error": body["error"], "code": code, "details": details}
    assert body["error"]


def test_a_validation_error_names_the_field_in_its_sentence(client):
    assert client.get("/bad-field").json()["error"] == "tags: At most 10 tags."
