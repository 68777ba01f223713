"""Pages of other origins: what they may read, with a bearer, with a cookie, with nothing."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from flowmaestro.models import ApiKey

LISTED, OTHER = "https://app.example.com", "https://evil.example"
LIST = "/api/executions"
COMPLETE = "/api/v1/waitpoints/tokens/waitpoint_x/complete"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def listed(settings):
    """One origin on the operator's list."""
    settings.CORS_ORIGINS = (LISTED,)
    settings.CSRF_TRUSTED_ORIGINS = ["http://testserver", LISTED]


@pytest.fixture
def ada():
    """Somebody with an account."""
    return get_user_model().objects.create_user("ada")


@pytest.fixture
def key(ada):
    """A key of theirs."""
    return ApiKey.issue(ada, name="test", scopes=["*"])[1]


def preflight(path, origin, *, method="POST", wanted="authorization, content-type"):
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if wanted:
        asked["Access-Control-Request-Headers"] = wanted
    return Client().options(path, headers=asked)


@pytest.mark.parametrize("path", [COMPLETE, LIST, "/api/v1/tasks/x/trigger"])
def test_any_page_may_ask_with_a_bearer_and_without_cookies(path):
    answer = preflight(path, OTHER)
    assert answer.status_code == 204
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert "POST" in answer["Access-Control-Allow-Methods"]
    assert answer["Access-Control-Allow-Headers"] == "authorization, content-type"
    assert "Access-Control-Allow-Credentials" not in answer
    assert "Origin" in answer["Vary"]


def test_what_a_bearer_is_answered_any_page_may_read(key):
    answer = Client().get(LIST, headers={"Origin": OTHER, "Authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer
    assert "x-ratelimit-reset" in answer["Access-Control-Expose-Headers"]


def test_a_page_can_read_why_its_bearer_was_refused():
    answer = Client().get(LIST, headers={"Origin": OTHER, "Authorization": "Bearer fm_no"})
    assert (answer.status_code, answer["Access-Control-Allow-Origin"]) == (401, "*")


@pytest.mark.parametrize("path", [LIST, "/api/schema/", "/healthz", "/admin/login/", "/"])
def test_without_a_bearer_no_foreign_page_reads_anything(path, ada):
    client = Client()
    client.force_login(ada)
    answer = client.get(path, headers={"Origin": OTHER})
    assert "Access-Control-Allow-Origin" not in answer
    refused = preflight(path, OTHER, wanted="content-type")
    assert "Access-Control-Allow-Origin" not in refused


@pytest.mark.parametrize("path", ["/", "/admin/", "/healthz"])
def test_a_bearer_opens_nothing_but_the_api(path):
    answer = Client().get(path, headers={"Origin": OTHER, "Authorization": "Bearer x"})
    assert "Access-Control-Allow-Origin" not in answer


def test_a_listed_origin_may_come_with_its_cookie(ada):
    client = Client()
    client.force_login(ada)
    answer = client.get(LIST, headers={"Origin": LISTED})
    assert answer.status_code == 200
    assert answer["Access-Control-Allow-Origin"] == LISTED
    assert answer["Access-Control-Allow-Credentials"] == "true"
    assert "Origin" in answer["Vary"]
    assert preflight(LIST, LISTED, wanted="x-csrftoken")["Access-Control-Allow-Origin"] == LISTED


@pytest.mark.parametrize(
    "origin",
    ["null", "https://app.example.com.evil.example", "https://evilapp.example.com",
     "http://app.example.com", "https://app.example.com:8443", "*"],
)  # fmt: skip
def test_what_only_looks_like_a_listed_origin_gets_nothing(origin, ada):
    client = Client()
    client.force_login(ada)
    assert "Access-Control-Allow-Origin" not in client.get(LIST, headers={"Origin": origin})


def test_answers_to_all_pages_never_carry_a_cookie(key):
    answer = Client().get(LIST, headers={"Origin": OTHER, "Authorization": f"Bearer {key}"})
    assert not answer.cookies


# ---- requests that another site makes a browser send --------------------------------------------


def signed_in(user):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    return client


def test_a_form_on_another_site_cannot_use_the_api_with_a_session(ada):
    client = signed_in(ada)
    for sent in ({"data": {"a": "1"}}, {"data": "{}", "content_type": "text/plain"},
                 {"data": "{}", "content_type": "application/json"}):  # fmt: skip
        answer = client.post("/api/workflows/execute", **sent, headers={"Origin": OTHER})
        assert answer.status_code in (403, 415), answer.content
        assert answer.json()["success"] is False


def test_a_request_without_the_token_beside_the_cookie_is_refused(ada):
    answer = signed_in(ada).post("/api/workflows/execute", "{}", content_type="application/json")
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["error"]


def test_with_the_token_the_session_may(ada):
    client = signed_in(ada)
    client.get("/")
    token = client.cookies["csrftoken"].value
    answer = client.post(
        "/api/workflows/execute", "{}", content_type="application/json",
        headers={"X-CSRFToken": token, "Origin": LISTED},
    )  # fmt: skip
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid"


def test_a_bearer_needs_no_csrf_token(key):
    answer = Client(enforce_csrf_checks=True).post(
        "/api/workflows/execute", "{}", content_type="application/json",
        headers={"Authorization": f"Bearer {key}", "Origin": OTHER},
    )  # fmt: skip
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/logout/"])
def test_forms_of_pages_need_the_token(path, ada):
    assert signed_in(ada).post(path, {"username": "ada", "password": "x"}).status_code == 403
