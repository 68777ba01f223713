"""Every address under odd methods, ids, bodies and headers: nothing fails, nothing leaks."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from flowmaestro.failures import PREFIXES
from flowmaestro.models import ApiKey

ODD = (
    "run_nowhere", "0", "-1", "9" * 40, "a" * 5000, "%00", "a%00b", "%ff", "%F0%28%8C%28", "é", "𝕏",
    "..", "%2e%2e%2f", "' OR 1=1 --", "{{7*7}}", "<script>", "null", "true", "%s%s%n", "\\", "%0a",
    "%e2%80%ae", "run_01m833xn92e7c8dkrt1t39n2pv", "workspace_x", " ", "%20", "a b",
)  # fmt: skip
BODIES = (
    b"", b"{", b"null", b"[]", b"{}", b'""', b"1", b"1e999", b"NaN", b'{"a": NaN}', b"\x00",
    b'"\\u0000"', b'{"payload": "\\ud800"}', b'{"\\ud800": 1}', b'{"payload": "a\\u0000b"}',
    b"\xff\xfe{}", "{\"a\": \"\u202e\"}".encode(), b'{"a":' * 150 + b"1" + b"}" * 150,
    b"[" * 100_000, b"[" * 500 + b"]" * 500, b'{"a":1,"a":2}', b"9" * 5000,
    b'"' + b"x" * 10_000 + b'"',
    b'{"payload": {}, "options": 7}', b'{"inputs": [], "workflowDefinition": []}',
    b'{"__proto__": {}, "constructor": {}}', b'{"limit": "x", "data": null, "name": 5}',
    b"a=1&b=2", b"<a/>", b'{"options": {"delay": "\\u0000", "ttl": -1, "tags": 5, "queue": []}}',
)  # fmt: skip
TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded", "",
         "a/b; charset=nope",
         "application/json; charset=utf-16", "multipart/form-data; boundary=x")  # fmt: skip
QUERIES = ("", "after=%00", "limit=-1", "limit=" + "9" * 30, "page[size]=x&page[after]=%ff",
           "a" * 3000,
           "filter[status]=%00", "filter[createdAt][from]=99999999999999999999", "cursor=%ed%a0%80",
           "since=nan&wait=inf", "format=api", "q=%F0%28")  # fmt: skip
# Pages for people among what is for programs.
PAGES = ("/api/docs/",)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW")
# What no answer may show: our code, the database's words, names of its tables.
LEAK = re.compile(
    rb'Traceback|File "|\.py\b|psycopg|sqlstate|SELECT |INSERT |executions_run|auth_user|'
    rb"site-packages|line \d+, in|OperationalError|DataError|django\.|relation \"",
)


def addresses(patterns=None, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Each address with places for its parts, and the parts' kinds."""
    for entry in patterns or get_resolver().url_patterns:
        if isinstance(entry, URLResolver):
            if not str(entry.pattern).startswith("admin"):
                yield from addresses(entry.url_patterns, prefix + str(entry.pattern))
        elif isinstance(entry, URLPattern):
            route = prefix + str(entry.pattern)
            if "<" in route or not route.startswith("^"):
                yield route, re.findall(r"<[^>]+>", route)


def filled(route: str, parts: list[str], chance: random.Random) -> str:
    for part in parts:
        kind = part.strip("<>").partition(":")[0]
        value = chance.choice(ODD)
        if kind == "int":
            value = chance.choice(("0", "1", "9" * 18))
        elif kind == "slug":
            value = chance.choice(("a", "a" * 300, "-_-"))
        route = route.replace(part, value, 1)
    return "/" + route


@pytest.fixture
def callers(db):
    """Nobody, a key that may do everything, and one that may nothing of it."""
    user = get_user_model().objects.create_user("ada", is_staff=True, is_superuser=True)
    full = ApiKey.issue(user, name="all", scopes=["*"])[1]
    return {"nobody": {}, "key": {"Authorization": f"Bearer {full}"},
            "odd": {"Authorization": "Bearer \x00\xff\xe9"}}  # fmt: skip


def ask(client, method, path, query, body, kind, headers):
    return client.generic(
        method, path, body, content_type=kind, QUERY_STRING=query, headers=headers,
        REMOTE_ADDR="203.0.113.9",
    )  # fmt: skip


def complaints(answer, method, path) -> list[str]:
    """What is wrong with an answer."""
    found = []
    # No worker runs beside a test: that is what /healthz says.
    if answer.status_code >= 500 and path != "/healthz":
        found.append(f"status {answer.status_code}")
    if answer.status_code >= 400 and path.startswith(PREFIXES) and path not in PAGES:
        found += _not_the_envelope(answer, method)
    body = b"" if answer.streaming else answer.content
    is_page_of_code = path.startswith(("/api/schema", "/api/docs", "/docs", "/static"))
    if answer.status_code >= 400 and not is_page_of_code and (leak := LEAK.search(body)):
        found.append(f"shows {leak.group()!r}")
    return found


def _listed(wrong: dict[str, str]) -> str:
    return "\n".join(f"{what}   [{how}]" for what, how in sorted(wrong.items()))


def _not_the_envelope(answer, method) -> list[str]:
    if method == "HEAD":
        return []
    try:
        body = json.loads(answer.content)
    except ValueError:
        return [f"no JSON in a {answer.status_code}: {answer.content[:80]!r}"]
    known = {"success", "error", "code", "details"}
    if not isinstance(body, dict) or not known <= body.keys() or body["success"] is not False:
        return [f"no envelope in a {answer.status_code}: {answer.content[:120]!r}"]
    return []


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(3))
def test_no_address_fails_or_leaks_whatever_comes(callers, seed, caplog):
    """Each address with every method; parts, queries, bodies and headers by chance."""
    chance = random.Random(seed)
    client = Client(raise_request_exception=False)
    routes = list(addresses())
    assert len(routes) > 60
    wrong: dict[str, str] = {}
    for route, parts in routes:
        for method in METHODS:
            for name, headers in callers.items():
                path = filled(route, parts, chance)
                query, body, kind = (chance.choice(QUERIES), chance.choice(BODIES),
                                     chance.choice(TYPES))  # fmt: skip
                answer = ask(client, method, path, query, body, kind, headers)
                for complaint in complaints(answer, method, path):
                    wrong.setdefault(
                        f"{method} /{route} as {name}: {complaint}",
                        f"{path[:80]} ?{query[:40]} {body[:60]!r} {kind}",
                    )
    assert not wrong, _listed(wrong)


@pytest.mark.django_db
@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
def test_every_body_at_every_address_that_takes_one(callers, body):
    client = Client(raise_request_exception=False)
    chance = random.Random(1)
    wrong: dict[str, str] = {}
    for route, parts in addresses():
        path = filled(route, parts, chance)
        if not path.startswith("/api/"):
            continue
        for method in ("POST", "PUT", "PATCH"):
            answer = ask(client, method, path, "", body, "application/json", callers["key"])
            for complaint in complaints(answer, method, path):
                wrong[f"{method} /{route}: {complaint}"] = path[:80]
    assert not wrong, _listed(wrong)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    ["/api/nowhere", "/api/v1/nowhere/at/all", "/api/", "/webhooks/", "/api/executions/a/b/c"],
)
def test_where_nothing_is_programs_are_told_in_json(path):
    answer = Client().get(path)
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


@pytest.mark.django_db
def test_where_nothing_is_people_see_a_page():
    answer = Client().get("/nowhere")
    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")


@pytest.mark.django_db
def test_a_host_that_is_not_ours_is_refused_without_a_word_about_it():
    answer = Client().get("/api/executions", HTTP_HOST="evil.example")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert b"ALLOWED_HOSTS" not in answer.content


@pytest.mark.django_db
def test_an_address_with_a_nul_names_nothing():
    answer = Client().get("/api/executions/x%00y")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.django_db
@pytest.mark.parametrize(("depth", "is_refused"), [(198, False), (199, True), (5000, True)])
def test_a_body_nested_over_the_limit_is_refused_with_the_limit(callers, depth, is_refused):
    # Two levels are the request's own.
    body = b'{"workflowDefinition": {"a": ' + b"[" * depth + b"]" * depth + b"}}"
    answer = ask(
        Client(), "POST", "/api/workflows/execute", "", body, "application/json", callers["key"]
    )
    assert answer.status_code == 400
    assert ("more than 200 levels" in answer.json()["error"]) is is_refused


@pytest.mark.django_db
def test_half_a_character_that_is_told_of_again_is_no_failure(callers):
    body = b'{"workflowDefinition": {}, "\\ud800": 1, "inputs": "\\ud800"}'
    answer = ask(
        Client(), "POST", "/api/v1/tasks/x/trigger", "", body, "application/json", callers["key"]
    )
    assert answer.status_code == 400
    assert json.loads(answer.content)["success"] is False
