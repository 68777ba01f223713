"""Wait tokens from outside: keys, addresses with secrets, and who learns what about them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from django.conf import settings as given_settings
from django.core.management import call_command
from django.db import connection
from django.test import Client

from executions import callback_secrets, callbacks, runs, tokens, workflow_runs, workspaces
from executions.connections.envelope import KeyMissing
from executions.errors import Conflict, Invalid, NotFound
from executions.models import AuditEntry, RunEvent, Step, WaitToken
from executions.registry import task
from executions.rules.ids import new_id
from executions.rules.retry import NO_RETRY
from executions.tests.admin_pages import list_of, page_of, text_of
from executions.tests.conftest import eventually, until_status
from executions.tests.management.callers import Caller
from executions.tests.people import REVIEW, person, until_asked

JSON = "application/json"
OLD, NEW = ("old", b"\1" * 32), ("new", b"\2" * 32)
mailed: dict[str, list[str]] = {}


@task("tokens.mail", retry=NO_RETRY)
async def mail(payload, ctx):
    """Sends the address of its token away, and waits for the answer."""
    token = await ctx.create_token("answer", timeout="1d", tags=["mail"])
    mailed.setdefault(ctx.run_id, []).append(token.url)
    await ctx.sleep(0.05)
    answer = await ctx.wait_for_token(token)
    return {"ok": answer.ok, "output": answer.output}


@task("tokens.mail-plainly", retry=NO_RETRY)
def mail_plainly(payload, ctx):
    """The same as a plain function."""
    token = ctx.create_token("answer")
    mailed.setdefault(ctx.run_id, []).append(token.url)
    return ctx.wait_for_token(token).unwrap()


def path_of(url):
    """An address without the name of the server."""
    assert url.startswith(given_settings.PUBLIC_URL + "/api/")
    return url.removeprefix(given_settings.PUBLIC_URL)


def secret_of(url):
    return url.rpartition("/")[2]


@pytest.fixture
def client():
    """Somebody outside, with no key, whom nothing stops from sending what they like."""
    return Client(enforce_csrf_checks=True)


def call(client, url, body='{"a": 1}', *, kind=JSON, **headers):
    return client.post(path_of(url), body, content_type=kind, headers=headers)


# ---- keys ---------------------------------------------------------------------------------------


def test_a_key_holds_for_an_hour_or_as_long_as_it_is_told(engine):
    first = tokens.create(idempotency_key="k")
    day = tokens.create(idempotency_key="day", idempotency_key_ttl="1d")
    engine.advance(minutes=59)
    again = tokens.create(idempotency_key="k", tags=["ignored"])
    assert (again.id, again.is_cached, again.url) == (first.id, True, first.url)
    assert not first.is_cached
    engine.advance(minutes=2)
    second = tokens.create(idempotency_key="k")
    assert (second.is_cached, second.id == first.id) == (False, False)
    assert second.url != first.url
    assert tokens.create(idempotency_key="day").id == day.id
    # The old one still shows its key.
    assert {tokens.retrieve(each.id).idempotency_key for each in (first, second)} == {"k"}


def test_a_key_whose_token_was_pruned_makes_a_new_one(db):
    first = tokens.create(idempotency_key="k", idempotency_key_ttl="90d")
    WaitToken.objects.filter(pk=first.id).delete()
    second = tokens.create(idempotency_key="k")
    assert not second.is_cached
    assert tokens.create(idempotency_key="k").id == second.id


def test_keys_are_scoped_by_workspace_and_owners_have_one(db):
    ada, bo = person("ada"), person("bo")
    shared = workspaces.create("team", owner=ada.pk)
    made = [
        tokens.create(idempotency_key="k", **where)
        for where in ({}, {"owner": ada.pk}, {"owner": bo.pk},
                      {"owner": ada.pk, "workspace": shared.id})
    ]  # fmt: skip
    assert len({token.id for token in made}) == 4
    found = [tokens.retrieve(token.id).workspace_id for token in made]
    own = [workspaces.personal(user.pk).id for user in (ada, bo)]
    assert found == [None, *own, shared.id]
    with pytest.raises(NotFound):
        tokens.create(workspace=new_id("workspace"))


def test_a_key_that_comes_32_times_at_once_makes_one_token(transactional_db):
    line = Barrier(32)

    def create(_):
        line.wait(30)
        try:
            return tokens.create(idempotency_key="k")
        finally:
            connection.close()

    with ThreadPoolExecutor(32) as pool:
        made = list(pool.map(create, range(32)))
    assert len({token.id for token in made}) == WaitToken.objects.count() == 1
    assert sorted(token.is_cached for token in made) == [False] + [True] * 31


def test_a_moment_as_a_timeout_has_a_time_zone(engine):
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    assert tokens.create(timeout=at).token.timeout_at == at
    with pytest.raises(Invalid, match="time zone"):
        tokens.create(timeout=at.replace(tzinfo=None))
    past = tokens.create(timeout=at - timedelta(days=30))
    engine.run_until_idle()
    assert tokens.retrieve(past.id).status == "TIMED_OUT"


# ---- secrets ------------------------------------------------------------------------------------


def test_a_secret_has_256_bits_and_only_its_hash_is_stored(db):
    made = tokens.create()
    secret = secret_of(made.url)
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    stored: Any = WaitToken.objects.filter(pk=made.id).values().get()
    assert bytes(stored["secret_hash"]) == hashlib.sha256(secret.encode()).digest()
    assert secret not in repr(stored) and secret not in repr(made)
    assert len({secret_of(tokens.create().url) for _ in range(50)}) == 50


def test_an_address_is_of_one_token_one_key_and_one_purpose(settings):
    settings.ENCRYPTION_KEYS = (OLD, NEW)
    one, other = new_id("waitpoint"), new_id("waitpoint")
    addresses = {
        secret_of(callback_secrets.address(token, key))
        for token in (one, other)
        for key in ("old", "new")
    }
    assert len(addresses) == 4
    # Not the bare HMAC under the master key: that key has other uses.
    bare = base64.urlsafe_b64encode(hashlib.new("sha256", OLD[1] + one.encode()).digest()).decode()
    assert bare.rstrip("=") not in addresses
    with pytest.raises(KeyMissing, match="FLOWMAESTRO_ENCRYPTION_KEYS"):
        callback_secrets.address(one, "gone")


def test_known_addresses_outlive_their_master_key(db, settings, client):
    settings.ENCRYPTION_KEYS = (OLD,)
    made = tokens.create(idempotency_key="k")
    settings.ENCRYPTION_KEYS = (NEW, OLD)
    assert tokens.create(idempotency_key="k").url == made.url
    told = io.StringIO()
    call_command("rotate_connection_keys", stdout=told)
    assert "1 open wait tokens have addresses that come from other keys" in told.getvalue()
    settings.ENCRYPTION_KEYS = (NEW,)
    assert call(client, made.url).status_code == 200
    assert tokens.retrieve(made.id).output == {"a": 1}
    with pytest.raises(KeyMissing):
        tokens.create(idempotency_key="k")


# ---- callbacks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind", "output"),
    [
        ('{"b": 1, "a": [null, "ü"]}', JSON, {"b": 1, "a": [None, "ü"]}),
        ("[1, 2]", JSON, [1, 2]),
        ('"text"', "text/plain", "text"),
        ("null", JSON, None),
        ("7", "", 7),
        ("", JSON, {}),
        ("not JSON", JSON, {}),
        ('{"a": NaN}', JSON, {}),
        (b"\xff\xfe\x00", "application/octet-stream", {}),
        ("status=ok&id=7", "application/x-www-form-urlencoded", {}),
        ('{"a": 1}', "multipart/form-data; boundary=x", {"a": 1}),
        ('{"a": 1}', "no type at all", {"a": 1}),
    ],
)
def test_the_whole_body_is_the_output(db, client, body, kind, output):
    made = tokens.create()
    answer = call(client, made.url, body, kind=kind, accept="text/html")
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert tokens.retrieve(made.id).output == output


def test_a_callback_wakes_the_run_and_a_second_one_changes_nothing(executor, client):
    run = mail.trigger().id
    until_status(run, "WAITING")
    (url, *_) = mailed[run]
    for body in ('{"n": 1}', '{"n": 2}'):
        assert call(client, url, body).json() == {"success": True}
    assert until_status(run, "COMPLETED").output == {"ok": True, "output": {"n": 1}}
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.user_id) == (
        "token.complete", "a callback address", None,
    )  # fmt: skip


def test_a_replayed_run_makes_the_same_address_again(executor):
    # It parks at the sleep and is entered again, from its journal.
    run = mail.trigger().id
    eventually(lambda: Step.objects.filter(run_id=run, kind="wait").exists())
    until_status(run, "WAITING")
    tokens.complete(WaitToken.objects.get(run_id=run).id, 1)
    until_status(run, "COMPLETED")
    assert len(mailed[run]) > 1
    assert len(set(mailed[run])) == 1


def test_a_plain_function_has_the_address_too(executor, client):
    run = mail_plainly.trigger().id
    until_status(run, "WAITING")
    assert call(client, mailed[run][0], '"yes"').status_code == 200
    assert until_status(run, "COMPLETED").output == "yes"


def test_a_fork_has_an_address_of_its_own(executor, client):
    run = mail.trigger().id
    until_status(run, "WAITING")
    eventually(lambda: Step.objects.filter(run_id=run, kind="wait").exists())
    call(client, mailed[run][0])
    until_status(run, "COMPLETED")
    wait = Step.objects.get(run_id=run, kind="wait")
    fork = runs.replay(run, from_step=wait.key).id
    until_status(fork, "WAITING")
    assert set(mailed[fork]).isdisjoint(mailed[run])
    assert call(client, mailed[fork][-1], "2").status_code == 200
    assert until_status(fork, "COMPLETED").output == {"ok": True, "output": 2}


def test_a_token_of_an_earlier_release_has_no_address(executor):
    @task("tokens.earlier", retry=NO_RETRY)
    async def earlier(payload, ctx):
        token = await ctx.create_token("t")
        await ctx.wait_for_token(payload)
        try:
            return token.url
        except Conflict as error:
            return error.message

    gate = tokens.create().id
    run = earlier.trigger(gate).id
    until_status(run, "WAITING")
    step = Step.objects.get(run_id=run, kind="token")
    Step.objects.filter(pk=step.pk).update(output={"id": step.output["id"]})
    tokens.complete(gate)
    assert "before tokens had addresses" in until_status(run, "COMPLETED").output


def test_a_callback_answers_a_review_by_its_rules(executor, client):
    run = workflow_runs.start(REVIEW).id
    token = WaitToken.objects.get(pk=until_asked(run)["reviews"][0]["tokenId"])
    url = callback_secrets.address(token.id, str(token.secret_key))
    for body in ("9", '{"message": "many"}', "not JSON"):
        answer = call(client, url, body)
        assert (answer.status_code, answer.json()["code"]) == (400, "answer_refused")
    assert call(client, url, '{"message": "4"}').status_code == 200
    assert until_status(run, "COMPLETED").output["outputs"] == {"count": 4}


@pytest.mark.parametrize(
    ("body", "status"), [('"\\u0000"', 400), ('"\\ud800"', 400), ("[" * 100_000, 400)]
)
def test_what_cannot_be_stored_is_refused_and_may_be_sent_again(db, client, body, status):
    made = tokens.create()
    assert call(client, made.url, body).status_code == status
    assert call(client, made.url, "1").status_code == 200
    assert tokens.retrieve(made.id).output == 1


# ---- no oracle ----------------------------------------------------------------------------------


@pytest.fixture
def strangers(engine):
    """Addresses that complete nothing, each for a reason of its own."""
    good = secret_of(tokens.create().url)
    waiting, done = tokens.create(timeout="2d"), tokens.create()
    tokens.complete(done.id, "first")
    expired, due = tokens.create(timeout="1h"), tokens.create(timeout="1d")
    plain = tokens.create()
    WaitToken.objects.filter(pk=plain.id).update(secret_hash=None)
    engine.advance(hours=2)
    WaitToken.objects.filter(pk=due.id).update(timeout_at="2020-01-01T00:00Z")
    beginning = given_settings.PUBLIC_URL + "/api/v1/waitpoints/tokens/"

    def at(token, secret):
        return f"{beginning}{token}/callback/{secret}"

    wrong = secret_of(waiting.url)
    wrong = wrong[:-1] + ("A" if wrong[-1] != "A" else "E")
    return {
        "wrong secret": at(waiting.id, wrong),
        "another token's secret": at(waiting.id, good),
        "wrong secret of a completed one": at(done.id, good),
        "wrong secret of an expired one": at(expired.id, good),
        "expired": expired.url,
        "due": due.url,
        "unknown": at(new_id("waitpoint"), good),
        "hidden": callback_secrets.hidden_address(waiting.id),
        "without a secret": at(plain.id, secret_of(plain.url)),
        "no id": at("nonsense", good),
        "not ASCII": at(waiting.id, "%C3%BC" * 20),
        "a surrogate": at(waiting.id, "%ED%A0%80"),
        "a million letters": at(waiting.id, "x" * 1_000_000),
        "run id": at(new_id("run"), good),
    }, (waiting, done)


def test_whoever_has_no_right_address_gets_the_same_answer(strangers, client):
    addresses, (waiting, done) = strangers
    seen = {}
    for why, url in addresses.items():
        answer = call(client, url)
        # What is left of the caller's budget says nothing of the token.
        kept = {k: v for k, v in answer.headers.items() if "ratelimit" not in k.lower()}
        seen[why] = (answer.status_code, answer.content, tuple(sorted(kept.items())))
    assert len(set(seen.values())) == 1, seen
    status, content, _ = next(iter(seen.values()))
    assert (status, json.loads(content)["code"]) == (404, "not_found")
    assert tokens.retrieve(waiting.id).status == "WAITING"
    assert tokens.retrieve(done.id).output == "first"
    assert not AuditEntry.objects.exists()


def test_whoever_has_no_right_address_takes_the_same_path(
    strangers, client, django_assert_num_queries, monkeypatch
):
    addresses, _ = strangers
    # Who has the right secret may learn that its time is over.
    del addresses["due"]
    compared = []
    real = hmac.compare_digest

    def compare(a, b):
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for url in addresses.values():
        with django_assert_num_queries(1) as done:
            call(client, url)
        assert "executions_waittoken" in done.captured_queries[0]["sql"]
    # One comparison each, of as many bytes.
    assert compared == [(32, 32)] * len(addresses)


@pytest.mark.parametrize("odd", ["\0", "waitpoint_\0", "\ud800", "x" * 1_000_000, "", "٣" * 26])
def test_whatever_stands_in_an_address_is_refused_alike(db, odd):
    made = tokens.create()
    for token, secret in ((odd, secret_of(made.url)), (made.id, odd), (odd, odd)):
        with pytest.raises(callbacks.NoSuchAddress):
            callbacks.answer(token, secret, b"1")
    assert tokens.retrieve(made.id).status == "WAITING"


@pytest.mark.parametrize("method", ["get", "head", "options", "put", "patch", "delete", "trace"])
def test_nothing_but_a_post_completes_a_token_or_says_whether_it_is_there(db, client, method):
    made = tokens.create()
    unknown = callback_secrets.address(new_id("waitpoint"), str(made.token.secret_key))
    answers = [
        getattr(client, method)(path_of(url), headers={"origin": "https://mail.example"})
        for url in (made.url, unknown, callback_secrets.hidden_address(made.id))
    ]
    assert {answer.status_code for answer in answers} == {405}
    assert len({answer.content for answer in answers}) == 1
    assert not any("access-control" in name.lower() for each in answers for name in each.headers)
    assert tokens.retrieve(made.id).status == "WAITING"


def test_a_page_of_another_origin_is_not_let_in(db, client):
    made = tokens.create()
    answer = call(client, made.url, origin="https://evil.example")
    assert not any(name.lower().startswith("access-control") for name in answer.headers)


def test_a_body_over_the_limit_is_413_with_and_without_the_secret(db, client, settings):
    settings.FLOWMAESTRO = replace(settings.FLOWMAESTRO, PAYLOAD_LIMIT=100)
    made = tokens.create()
    hidden = callback_secrets.hidden_address(made.id)
    seen = {
        (a.status_code, a.content) for a in (call(client, u, "1" * 101) for u in (made.url, hidden))
    }
    assert [status for status, _ in seen] == [413]
    assert tokens.retrieve(made.id).status == "WAITING"
    assert call(client, made.url, '"' + "1" * 98 + '"').status_code == 200


# ---- nowhere else -------------------------------------------------------------------------------


def everything_stored():
    """Every row of every table, as text."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        found = []
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            found += [row[0] for row in cursor.fetchall()]
    return "\n".join(found)


@pytest.fixture
def log():
    """What the installation's own handler writes of everything that is logged."""
    out = io.StringIO()
    handler: Any = next(h for h in logging.getLogger().handlers if h.get_name() == "stderr")
    kept, level = handler.setStream(out), logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    yield out
    logging.getLogger().setLevel(level)
    handler.setStream(kept)


def test_an_address_is_nowhere_but_in_the_answer_to_its_creator(executor, client, log):
    boss = Caller("boss", is_staff=True)
    made = boss.post("v1/waitpoints/tokens", {"idempotencyKey": "k", "tags": ["t"]}).json()
    run = boss.trigger("tokens.mail")
    until_status(run, "WAITING")
    urls = [made["url"], *mailed[run]]
    secrets = {secret_of(url) for url in urls}
    # Refused, looked at by a mail scanner, failing, and at last completed.
    for url in urls:
        client.get(path_of(url))
        call(client, url, "[" * 100_000)
        call(client, url, "1" * 4_000_000)
        call(client, url.replace("waitpoint_0", "waitpoint_1"))
        call(client, url + "/")
        call(client, url)
    until_status(run, "COMPLETED")
    shown = [
        boss.get(path).content.decode()
        for path in (
            "v1/waitpoints/tokens", f"v1/waitpoints/tokens/{made['id']}", f"v3/runs/{run}",
            "v1/runs", f"v1/runs/{run}/events", f"executions/{run}", f"executions/{run}/events",
        )
    ]  # fmt: skip
    site = Client()
    boss.user.is_superuser = True
    boss.user.save()
    site.force_login(boss.user)
    token = WaitToken.objects.get(run_id=run)
    for page in (
        list_of("waittoken"), page_of(made["id"], "waittoken"), page_of(token.id, "waittoken"),
        page_of(run), list_of("auditentry"), f"/runs/{run}/",
    ):  # fmt: skip
        shown.append(text_of(site.get(page)))
    events = json.dumps(list(RunEvent.objects.filter(run_id=run).values_list("data", flat=True)))
    written = log.getvalue()
    assert "/callback/" in written
    for secret in secrets:
        encoded = {secret, base64.b64encode(secret.encode()).decode()}
        for text in (*shown, events, everything_stored(), written):
            assert not any(each in text for each in encoded)
    assert any("shown-only-when-created" in text for text in shown)


def test_an_address_in_an_exception_or_a_path_is_masked(log):
    url = "/api/v1/waitpoints/tokens/waitpoint_1/callback/very-secret"
    logger = logging.getLogger("django.request")
    logger.warning("Not Found: %s", url)
    logger.error('"POST %s?a=1 HTTP/1.1" 500', url)
    try:
        raise RuntimeError(f"It broke at http://host{url}")
    except RuntimeError:
        logger.exception("Internal Server Error: %s", url)
    written = log.getvalue()
    assert written.count("/tokens/waitpoint_1/callback/••••") >= 4
    assert "very-secret" not in written
    assert "?a=1" in written


def test_django_logs_through_the_one_handler(log):
    for name in ("django", "django.request", "django.server", "django.security", "daphne"):
        logger = logging.getLogger(name)
        while logger.parent is not None:
            assert not logger.handlers, name
            assert logger.propagate, name
            logger = logger.parent
