"""Public tokens: whose signature counts, for how long, for what, and how often."""

from __future__ import annotations

import base64
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import jwt
import pytest
from django.db import connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.views import APIView

from executions import public_access, workspaces
from executions.access import Caller as Who
from executions.api.base import ApiView
from executions.models import AnsweredRequest, Run
from executions.rules.scopes import EVERY_SCOPE
from executions.tests.management.callers import JSON, Caller
from executions.tests.management.conftest import echo
from flowmaestro import public_tokens
from flowmaestro.models import ApiKey

RUNS = "v1/runs"
ECHO = f"v1/tasks/{echo.id}/trigger"
DAY = 86_400


@pytest.fixture
def ada(db):
    """A caller with a key that may do everything in a workspace."""
    return Caller("ada")


def now():
    return int(datetime.now(UTC).timestamp())


def claims(caller, **changes):
    """What the SDK signs, with changes; a claim that is `...` is left out."""
    content = {
        "sub": f"key_{caller.row.pk}", "pub": True, "scopes": ["read:runs"], "iat": now(),
        "exp": now() + 900, "iss": "https://id.trigger.dev", "aud": "https://api.trigger.dev",
    } | changes  # fmt: skip
    return {name: value for name, value in content.items() if value is not ...}


def asked(token, path=RUNS):
    return Client(headers={"Authorization": f"Bearer {token}"}).get(f"/api/{path}")


def part(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


# ---- whose signature counts ---------------------------------------------------------------------


def test_a_token_as_the_sdk_makes_it_is_accepted(ada):
    token = jwt.encode(claims(ada), ada.key, algorithm="HS256", headers={"typ": None})
    assert asked(token).status_code == 200
    assert ApiKey.objects.get().last_used_at is not None


WRONG = {
    "another key's secret": lambda c: jwt.encode(claims(c), "fm_" + "x" * 43, algorithm="HS256"),
    "the key's hash as the secret": lambda c: jwt.encode(
        claims(c), c.row.key_hash, algorithm="HS256"
    ),
    "no secret": lambda c: jwt.encode(claims(c), "", algorithm="none"),
    "an unsigned one with the header of a signed one": lambda c: (
        f"{part({'alg': 'HS256'})}.{part(claims(c))}.AAAA"
    ),
    "HS384": lambda c: jwt.encode(claims(c), c.key, algorithm="HS384"),
    "HS512": lambda c: jwt.encode(claims(c), c.key, algorithm="HS512"),
    "an unknown key": lambda c: jwt.encode(
        claims(c, sub=f"key_{c.row.pk + 1}"), c.key, algorithm="HS256"
    ),
    "a number for a key": lambda c: part({"alg": "HS256"}) + "." + part({"sub": 1}) + ".AAAA",
    "no key": lambda c: jwt.encode(claims(c, sub=...), c.key, algorithm="HS256"),
    "a key beyond all numbers": lambda c: jwt.encode(
        claims(c, sub="key_" + "9" * 30), c.key, algorithm="HS256"
    ),
    "a key by its name": lambda c: jwt.encode(claims(c, sub="test"), c.key, algorithm="HS256"),
    "Arabic digits": lambda c: jwt.encode(claims(c, sub="key_١"), c.key, algorithm="HS256"),
    "another issuer": lambda c: jwt.encode(claims(c, iss="me"), c.key, algorithm="HS256"),
    "another audience": lambda c: jwt.encode(claims(c, aud="you"), c.key, algorithm="HS256"),
    "several audiences": lambda c: jwt.encode(
        claims(c, aud=["https://api.trigger.dev", "you"]), c.key, algorithm="HS256"
    ),
    "no issuer": lambda c: jwt.encode(claims(c, iss=...), c.key, algorithm="HS256"),
    "no audience": lambda c: jwt.encode(claims(c, aud=...), c.key, algorithm="HS256"),
    "no end": lambda c: jwt.encode(claims(c, exp=...), c.key, algorithm="HS256"),
    "no beginning": lambda c: jwt.encode(claims(c, iat=...), c.key, algorithm="HS256"),
    "an unknown critical header": lambda c: jwt.encode(
        claims(c), c.key, algorithm="HS256", headers={"crit": ["x"], "x": 1}
    ),
    "an altered claim": lambda c: _altered(jwt.encode(claims(c), c.key, algorithm="HS256")),
    "no JSON": lambda c: "eyJ.bm9uZQ.AAAA",
    "a list": lambda c: f"{part({'alg': 'HS256'})}.{part([1])}.AAAA",
    "a deep one": lambda c: f"{part({'alg': 'HS256'})}.{_deep()}.AAAA",
    "a long one": lambda c: jwt.encode(claims(c, scopes=["x" * 20_000]), c.key, algorithm="HS256"),
}


def _altered(token):
    head, _, tail = token.split(".")
    content = jwt.decode(token, options={"verify_signature": False})
    return f"{head}.{part(content | {'scopes': ['admin']})}.{tail}"


def _deep():
    return base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_token_that_is_not_genuine_is_refused_without_saying_why(ada):
    seen = {}
    for why, make in WRONG.items():
        answer = asked(make(ada))
        seen[why] = (answer.status_code, answer.json()["code"], answer.content)
    assert {status for status, _, _ in seen.values()} == {401}, seen
    assert {code for _, code, _ in seen.values()} == {"public_token_invalid"}
    assert len({content for _, _, content in seen.values()}) == 1


@pytest.mark.parametrize("text", ["a.b", "a.b.c.d", ".b.c", "a..c", "ä.b.c", "a b.c.d"])
def test_what_has_not_the_shape_of_a_token_is_taken_for_a_key(ada, text):
    assert not public_tokens.has_shape(text)
    assert asked(text.encode().decode("latin-1")).json()["code"] == "authentication_failed"


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"exp": 1_700_000_000, "iat": 1_699_999_000}, "public_token_expired", "has expired"),
        ({"exp": "soon"}, "public_token_invalid", "seconds since 1970"),
        ({"exp": True}, "public_token_invalid", "seconds since 1970"),
        ({"exp": 1e300}, "public_token_invalid", "seconds since 1970"),
        ({"iat": "now"}, "public_token_invalid", "seconds since 1970"),
        ({"pub": False}, "public_token_invalid", "pub"),
        ({"pub": 1}, "public_token_invalid", "pub"),
        ({"pub": ...}, "public_token_invalid", "pub"),
        ({"otu": "yes"}, "public_token_invalid", "otu"),
        ({"scopes": "read:runs"}, "public_token_invalid", "scopes"),
        ({"scopes": [1]}, "public_token_invalid", "scopes"),
        ({"scopes": ["x"] * 201}, "public_token_invalid", "scopes"),
        ({"nbf": 4_000_000_000}, "public_token_invalid", "time"),
    ],
)
def test_a_genuine_token_that_does_not_count_says_why(ada, changes, code, words):
    answer = asked(jwt.encode(claims(ada, **changes), ada.key, algorithm="HS256"))
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert "Public Access Token" in answer.json()["error"]
    assert words in answer.json()["error"]
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    ("made", "ends", "status"),
    [
        (0, 30 * DAY, 200), (0, 30 * DAY + 1, 401), (-29 * DAY, DAY, 200),
        (-29 * DAY, DAY + 1, 401), (20, 30 * DAY, 200), (10 * DAY, 40 * DAY, 401),
        (-30 * DAY, 60, 401),
    ],
)  # fmt: skip
def test_a_token_lasts_thirty_days_at_most(ada, made, ends, status):
    token = jwt.encode(claims(ada, iat=now() + made, exp=now() + ends), ada.key, algorithm="HS256")
    assert asked(token).status_code == status


def test_a_token_expires_by_the_databases_clock(engine):
    ada = Caller("ada")
    begin = int(engine.now().timestamp())
    token = jwt.encode(claims(ada, iat=begin, exp=begin + 900), ada.key, algorithm="HS256")
    assert asked(token).status_code == 200
    engine.advance(seconds=901)
    assert asked(token).json()["code"] == "public_token_expired"


# ---- no longer than the key, no more than the key -----------------------------------------------


def _revoke(ada, boss):
    assert boss.get("v1/runs").status_code == 200
    ApiKey.objects.filter(pk=ada.row.pk).update(revoked_at="2026-01-01T00:00Z")


def _leave(ada, boss):
    ada.user.is_active = False
    ada.user.save()


def _unseal(ada, boss):
    ApiKey.objects.filter(pk=ada.row.pk).update(sealed=None, wrapped_key=None, sealed_with="")


def _other_master(ada, boss):
    ApiKey.objects.filter(pk=ada.row.pk).update(sealed_with="gone")


@pytest.mark.parametrize("end", [_revoke, _leave, _unseal, _other_master])
def test_what_ends_the_key_ends_its_tokens_at_once(ada, end):
    boss = Caller("boss")
    holder = ada.token("read:runs")
    assert holder.get(RUNS).status_code == 200
    end(ada, boss)
    answer = holder.get(RUNS)
    assert (answer.status_code, answer.json()["code"]) == (401, "public_token_invalid")


def test_the_tokens_of_a_member_end_with_the_membership(ada):
    team = workspaces.create("team", owner=ada.user.pk).id
    eve = Caller("eve")
    workspaces.set_role(team, eve.user.pk, "member")
    _, key = ApiKey.issue(eve.user, name="team", scopes=["*"], workspace=team)
    holder = eve._with(key).token("read:runs")
    assert holder.get(RUNS).status_code == 200
    workspaces.remove_member(team, eve.user.pk)
    answer = holder.get(RUNS)
    assert (answer.status_code, answer.json()["code"]) == (401, "public_token_invalid")


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [(["read"], (200, 403)), (["trigger"], (403, 200)), (["complete", "admin"], (403, 403))],
)
def test_a_token_may_no_more_than_its_key(db, scopes, allowed):
    eve = Caller("eve", *scopes)
    holder = Client(
        headers={
            "Authorization": "Bearer "
            + jwt.encode(
                claims(eve, scopes=["admin", "read:all", "write:all"]),
                eve.key, algorithm="HS256",
            )
        }
    )  # fmt: skip
    assert holder.get(f"/api/{RUNS}").status_code == allowed[0]
    assert holder.post(f"/api/{ECHO}", {}, content_type=JSON).status_code == allowed[1]


def test_a_token_may_no_more_than_its_user_by_now(ada):
    team = workspaces.create("team", owner=ada.user.pk)
    eve = Caller("eve")
    workspaces.set_role(team.id, eve.user.pk, "member")
    eve.row, eve.key = ApiKey.issue(eve.user, name="team", scopes=["*"], workspace=team.id)
    eve._client = Client(headers={"Authorization": f"Bearer {eve.key}"})
    holder = eve.token("write:tasks")
    assert holder.post(ECHO).status_code == 200
    workspaces.set_role(team.id, eve.user.pk, "viewer")
    assert holder.post(ECHO).status_code == 403


def test_a_token_sees_what_its_key_sees(ada):
    bo = Caller("bo")
    run = ada.trigger(echo.id)
    for scope in ("read:runs", f"read:runs:{run}"):
        assert bo.token(scope).get(f"v3/runs/{run}").status_code == 404
        assert ada.token(scope).get(f"v3/runs/{run}").status_code == 200
    assert ada.token("read:runs:run_x").get(f"v3/runs/{run}").status_code == 403


def test_a_token_makes_no_tokens_and_no_session(ada):
    holder = ada.token("admin")
    assert holder.post("v1/auth/jwt/claims").status_code == 403
    answer = holder._client.get("/admin/")
    assert answer.status_code == 302
    assert "sessionid" not in answer.cookies


# ---- every view ---------------------------------------------------------------------------------

_ID = re.compile(r"<(?:(\w+):)?\w+>")


def routes(patterns=None, prefix=""):
    """Every path of the project with its view."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        here = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, here)
        elif isinstance(pattern, URLPattern):
            yield here, pattern.callback


def api_routes():
    for path, view in routes():
        kind = getattr(view, "cls", None) or getattr(view, "view_class", None)
        if kind is not None and issubclass(kind, APIView):
            filled = _ID.sub(lambda match: "1" if match[1] == "int" else "x", path)
            yield "/" + filled.strip("^$"), kind


def test_a_token_opens_only_views_that_say_so(ada):
    """Views without `public_access` refuse the mightiest token; others, one without scopes."""
    found = list(api_routes())
    assert len(found) > 40
    powers = {True: ada.token()._client, False: ada.token("admin", "read:all", "write:all")._client}
    open_ones = 0
    for path, kind in found:
        if not getattr(kind, "permission_classes", None) or not kind.authentication_classes:
            continue
        says_so = issubclass(kind, ApiView) and kind.public_access is not ApiView.public_access
        open_ones += says_so
        for method in ("get", "post", "put", "patch", "delete"):
            if not hasattr(kind, method):
                continue
            answer = getattr(powers[says_so], method)(path, content_type=JSON)
            assert answer.status_code in (401, 403), (method, path, answer.content)
    assert open_ones > 5


def test_pages_for_people_know_no_tokens(ada):
    holder = ada.token("admin", "read:all", "write:all")._client
    pages = [path for path, view in routes() if not path.startswith(("api/", "static", "^static"))]
    assert len(pages) > 20
    for path in ("/", "/admin/", "/admin/executions/run/", "/admin/flowmaestro/apikey/"):
        assert holder.get(path).status_code in (302, 403), path


# ---- once ---------------------------------------------------------------------------------------


@pytest.fixture
def eve(transactional_db):
    """A caller whose tokens are used from many sides."""
    return Caller("eve")


def once(caller, *scopes, **more):
    return caller.token(*(scopes or [f"trigger:tasks:{echo.id}"]), otu=True, **more)


def test_a_token_for_one_use_triggers_one_run_however_often_it_comes(eve):
    holder, line = once(eve), Barrier(16)

    def trigger(number):
        line.wait(30)
        try:
            return holder.post(ECHO, {"payload": number})
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(trigger, range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 15
    assert {a.json()["code"] for a in answers if a.status_code == 403} == {"public_token_used"}
    assert Run.objects.count() == 1


def test_a_request_that_is_repeated_by_its_key_is_no_second_use(eve):
    holder = once(eve)
    same = {"x-trigger-request-idempotency-key": "5b2d"}
    first, again = (holder.post(ECHO, {"payload": 1}, **same) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["id"] == again.json()["id"]
    assert holder.post(ECHO, {"payload": 1}).json()["code"] == "public_token_used"


def test_a_trigger_that_fails_leaves_the_token_as_it_was(eve):
    holder = once(eve, f"trigger:tasks:{echo.id}", "trigger:tasks:none")
    assert holder.post("v1/tasks/none/trigger").status_code == 404
    assert holder.post(ECHO, {"options": {"ttl": -1}}).status_code == 400
    assert holder.post(ECHO).status_code == 200
    assert holder.post(ECHO).status_code == 403


def test_another_spelling_of_the_signature_is_the_same_token(eve):
    holder = once(eve)
    assert holder.post(ECHO).status_code == 200
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(holder.key[-1])
    for bits in range(4):
        # Of the last letter's six bits the signature has four.
        spelt = holder.key[:-1] + alphabet[last & ~3 | bits]
        answer = Client(headers={"Authorization": f"Bearer {spelt}"}).post(
            f"/api/{ECHO}", {}, content_type=JSON
        )
        assert answer.status_code in (401, 403)
    assert Run.objects.count() == 1


def test_what_is_kept_of_a_used_token_outlives_it_and_is_no_token(eve):
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=20)
    holder = once(eve, exp=ends)
    assert holder.post(ECHO).status_code == 200
    row = AnsweredRequest.objects.get(kind="one-time token")
    assert ends < row.expires_at < ends + timedelta(hours=2)
    assert len(row.key) == 64
    assert row.key not in holder.key


def test_a_token_for_one_use_reads_nothing(eve):
    holder = once(eve, "read:runs", "write:waitpoints")
    assert holder.get(RUNS).status_code == 403
    assert holder.post("v1/waitpoints/tokens/x/complete").status_code == 403


# ---- given out ----------------------------------------------------------------------------------


def test_answers_to_a_key_carry_claims_and_to_a_token_a_token(eve):
    answer = eve.post(ECHO)
    carried = json.loads(answer.headers["x-trigger-jwt-claims"])
    assert carried == {"sub": f"key_{eve.row.pk}", "pub": True}
    assert "x-trigger-jwt" not in answer.headers
    answer = eve.token("write:tasks").post(ECHO)
    token = answer.headers["x-trigger-jwt"]
    assert "x-trigger-jwt-claims" not in answer.headers
    assert asked(token, f"v3/runs/{answer.json()['id']}").status_code == 200
    assert asked(token).status_code == 403


def test_a_signed_in_user_signs_with_nothing():
    user = Who(name="ada", user_id=1, workspace_id=None, scopes=EVERY_SCOPE)
    assert public_access.headers(user, ["read:runs:run_1"]) == {}
    with pytest.raises(public_access.NoKey):
        public_access.claims(user)
