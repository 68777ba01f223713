"""How many requests a caller may send: budgets, the statement that keeps them, the answers."""

from __future__ import annotations

import dataclasses
import threading
import time

import pytest
from django.contrib.auth import get_user_model
from django.db import ProgrammingError, connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from executions import prune
from executions.api.limits import Budget, TooManyRequests, charge
from executions.engine import db
from executions.rules import rate_limits
from executions.rules.rate_limits import Rate
from flowmaestro import throttles
from flowmaestro.models import ApiKey, RateLimit

KEY = "/api/executions"


@pytest.fixture(autouse=True)
def forget():
    """What this process remembers of others' tests."""
    throttles._refused.clear()
    throttles._genuine.clear()


@pytest.fixture
def limit(settings):
    """Sets budgets to so many requests at once, and one more for each minute."""

    def set_to(*budgets, at_once):
        known = {f"RATE_LIMIT_{name.upper()}": 1 for name in budgets}
        settings.FLOWMAESTRO = dataclasses.replace(
            settings.FLOWMAESTRO, **known, RATE_LIMIT_BURST_SECONDS=60.0 * at_once
        )

    return set_to


@pytest.fixture
def key(db):
    user = get_user_model().objects.create_user("ada", password="a-long-password")
    return ApiKey.issue(user, name="test", scopes=["*"])[1]


def get(bearer=None, *, path=KEY, address="203.0.113.9", **headers):
    if bearer is not None:
        headers["Authorization"] = f"Bearer {bearer}"
    return Client().get(path, headers=headers, REMOTE_ADDR=address)


# ---- keys ---------------------------------------------------------------------------------------


def test_a_key_is_refused_once_its_budget_is_spent_and_told_when_to_come_again(key, limit):
    limit("key", at_once=3)
    answers = [get(key) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused = answers[-1]
    body = refused.json()
    assert (body["success"], body["code"], body["details"]) == (False, "rate_limited", {})
    assert 55 <= int(refused["Retry-After"]) <= 60
    assert refused["Cache-Control"] == "no-store"


def test_answers_say_how_a_key_stands_as_trigger_devs_client_reads_it(key, limit):
    limit("key", at_once=3)
    before = time.time() * 1000
    first = get(key)
    assert (first["x-ratelimit-limit"], first["x-ratelimit-remaining"]) == ("3", "2")
    assert before + 55_000 < int(first["x-ratelimit-reset"]) < time.time() * 1000 + 60_100
    get(key), get(key)
    # The client comes again at this moment: not when all is whole, but when one request fits.
    assert int(get(key)["x-ratelimit-reset"]) < time.time() * 1000 + 60_100


def test_another_key_of_the_same_address_is_not_concerned(key, limit):
    limit("key", at_once=1)
    other = ApiKey.issue(get_user_model().objects.get(), name="other", scopes=["*"])[1]
    assert [get(key).status_code, get(key).status_code] == [200, 429]
    assert get(other).status_code == 200


def test_what_is_refused_for_want_of_a_scope_counts_too(limit, key):
    limit("key", at_once=2)
    user = get_user_model().objects.get()
    reader = ApiKey.issue(user, name="reader", scopes=["trigger"])[1]
    assert [get(reader).status_code for _ in range(3)] == [403, 403, 429]


def test_zero_is_no_limit(key, settings):
    settings.FLOWMAESTRO = dataclasses.replace(
        settings.FLOWMAESTRO, RATE_LIMIT_KEY=0, RATE_LIMIT_BURST_SECONDS=0.05
    )
    answers = [get(key) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert not any("x-ratelimit-limit" in answer for answer in answers)


def test_a_signed_in_user_has_a_budget(limit, key):
    limit("key", at_once=2)
    client = Client()
    client.force_login(get_user_model().objects.get())
    assert [client.get(KEY).status_code for _ in range(3)] == [200, 200, 429]


# ---- addresses ----------------------------------------------------------------------------------


def test_wrong_keys_spend_the_budget_of_their_address(limit, key):
    limit("address", at_once=3)
    wrong = [get(f"fm_{number}").status_code for number in range(4)]
    assert wrong == [401, 401, 401, 429]
    assert get("fm_x", address="203.0.113.10").status_code == 401


def test_requests_without_a_key_spend_it_as_well(limit, db):
    limit("address", at_once=2)
    assert [get().status_code for _ in range(3)] == [401, 401, 429]


def test_pages_for_everybody_count_by_address(limit, db):
    limit("address", at_once=2)
    answers = [get(path="/api/schema/").status_code for _ in range(3)]
    assert answers == [200, 200, 429]


def test_a_good_key_goes_on_where_others_try_keys_out(limit, key):
    limit("address", at_once=2)
    assert get(key).status_code == 200
    for number in range(5):
        get(f"fm_{number}")
    assert get("fm_x").status_code == 429
    assert get(key).status_code == 200


def test_a_flood_of_wrong_keys_costs_no_statement(limit, key):
    limit("address", at_once=1)
    get("fm_1"), get("fm_2")
    with watched() as seen:
        assert {get(f"fm_{number}").status_code for number in range(20)} == {429}
    assert seen == []


def test_a_flood_with_one_key_costs_its_lookup_and_no_more(limit, key):
    limit("key", at_once=1)
    get(key), get(key)
    with watched() as seen:
        assert get(key).status_code == 429
    assert not any("ratelimit" in statement for statement in seen)


class watched:
    """The statements that go through the door of planned statements, and through Django's."""

    def __enter__(self):
        self.seen: list[str] = []
        self._execute = db.execute
        self._wrapper = connection.execute_wrapper(self._note)
        self._wrapper.__enter__()

        def noted(statement, parameters):
            self.seen.append(statement)
            return self._execute(statement, parameters)

        db.execute = noted
        return self.seen

    def _note(self, execute, sql, params, many, context):
        self.seen.append(sql)
        return execute(sql, params, many, context)

    def __exit__(self, *exc):
        db.execute = self._execute
        self._wrapper.__exit__(*exc)


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.9", "203.0.113.9", True),
        ("203.0.113.9", "203.0.113.10", False),
    ],
)
def test_an_ipv6_network_counts_as_one_address(first, second, together, limit, db):
    limit("address", at_once=1)
    assert get(address=first).status_code == 401
    assert get(address=second).status_code == (429 if together else 401)


def test_what_a_client_writes_into_x_forwarded_for_changes_nothing(limit, db, settings):
    limit("address", at_once=1)
    settings.TRUSTED_PROXIES = ()
    answers = [
        get(**{"X-Forwarded-For": f"198.51.100.{number}"}).status_code for number in range(2)
    ]
    assert answers == [401, 429]


# ---- webhooks, batches --------------------------------------------------------------------------


def caller_of(key):
    found = ApiKey.find(key)
    assert found is not None
    caller = found.caller()
    assert caller is not None
    return caller


def request_of(address="203.0.113.9"):
    return RequestFactory().post("/x", REMOTE_ADDR=address)


def test_webhooks_have_a_budget_each(limit, db):
    limit("webhook", at_once=2)
    for _ in range(2):
        charge(request_of(), budget=Budget.WEBHOOK, subject="trigger_1")
    with pytest.raises(TooManyRequests) as refused:
        charge(request_of("198.51.100.7"), budget=Budget.WEBHOOK, subject="trigger_1")
    assert 55 < refused.value.retry_after <= 60
    charge(request_of(), budget=Budget.WEBHOOK, subject="trigger_2")


def test_a_batch_costs_its_items_and_not_the_request_as_well(limit, key):
    limit("key", at_once=10)
    request = request_of()
    caller = caller_of(key)
    throttles.charge_caller(request, caller)
    charge(request, 10)
    assert request.rate_standing.remaining == 0
    again = request_of()
    with pytest.raises(TooManyRequests):
        throttles.charge_caller(again, caller)


def test_a_batch_above_the_burst_goes_through_a_whole_budget(limit, key):
    limit("key", at_once=10)
    request = request_of()
    throttles.charge_caller(request, caller_of(key))
    charge(request, 1000)
    assert request.rate_standing.remaining == 0


def test_a_refused_batch_leaves_the_budget_for_small_requests(limit, key):
    limit("key", at_once=10)
    caller = caller_of(key)
    for _ in range(3):
        throttles.charge_caller(request_of(), caller)
    request = request_of()
    throttles.charge_caller(request, caller)
    with pytest.raises(TooManyRequests):
        charge(request, 9)
    throttles.charge_caller(request_of(), caller)


# ---- signing in ---------------------------------------------------------------------------------


def sign_in(name, password="wrong", address="203.0.113.9"):
    return Client().post(
        "/admin/login/", {"username": name, "password": password}, REMOTE_ADDR=address
    )


def test_attempts_to_sign_in_are_limited_by_account_and_address(limit, key):
    limit("login", at_once=2)
    assert [sign_in("ada").status_code for _ in range(2)] == [200, 200]
    refused = sign_in("Ada", "a-long-password")
    assert refused.status_code == 429
    assert 55 <= int(refused["Retry-After"]) <= 60
    assert b"Too many" in refused.content
    assert sign_in("bo").status_code == 200
    assert sign_in("ada", address="203.0.113.10").status_code == 200


def test_one_address_cannot_try_every_account(limit, key):
    limit("address", at_once=3)
    answers = [sign_in(f"user-{number}").status_code for number in range(4)]
    assert answers == [200, 200, 200, 429]


def test_looking_at_the_form_costs_nothing(limit, db):
    limit("login", "address", at_once=1)
    assert {Client().get("/admin/login/").status_code for _ in range(3)} == {200}


# ---- the statement ------------------------------------------------------------------------------


moves = st.lists(
    st.tuples(st.floats(0, 30), st.integers(1, 12), st.sampled_from(["a", "b"])),
    min_size=1,
    max_size=12,
)


@pytest.mark.django_db
@given(moves=moves, per_minute=st.integers(1, 2000), burst=st.integers(1, 10))
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_statement_decides_as_the_rule_does(moves, per_minute, burst):
    rate = Rate(per_minute=per_minute, burst=burst)
    RateLimit.objects.all().delete()
    whole_at: dict[str, float] = {}
    statement = throttles._CHARGE.replace("flowmaestro_now()", "to_timestamp(%(now)s)")
    now = 1_800_000_000.0
    for gap, items, key in moves:
        now += gap
        given_ = {"key": key, "need": rate.need(items), "span": rate.span, "now": now}
        ((found, allowed, at),) = db.execute(statement, given_)
        expected, wanted = rate_limits.charge(whole_at.get(key), at, rate, items)
        assert (allowed, found) == (wanted, pytest.approx(expected, abs=1e-5))
        whole_at[key] = expected


@pytest.mark.django_db(transaction=True)
def test_many_at_once_get_through_no_more_than_the_burst():
    rate = Rate(per_minute=1, burst=40)
    passed = []

    def come():
        try:
            for _ in range(20):
                standing = throttles._charged("crowd", rate, 1)
                assert standing is not None
                if standing.allowed:
                    passed.append(1)
        finally:
            connection.close()

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 40


@pytest.mark.django_db
def test_the_table_is_not_logged_and_its_updates_touch_no_index():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relpersistence FROM pg_class WHERE relname = 'flowmaestro_ratelimit'"
        )
        assert cursor.fetchone() == ("u",)
        cursor.execute("SELECT count(*) FROM pg_indexes WHERE tablename = 'flowmaestro_ratelimit'")
        assert cursor.fetchone() == (1,)


@pytest.mark.django_db
def test_a_limiter_that_fails_lets_requests_through_and_says_so(limit, monkeypatch, caplog):
    def fail(*args):
        raise ProgrammingError("no such table")

    limit("address", at_once=5)
    monkeypatch.setattr(throttles, "_last_log", -1e9)
    monkeypatch.setattr(db, "execute", fail)
    for _ in range(3):
        charge(request_of(), budget=Budget.ADDRESS)
    assert caplog.text.count("let through uncounted") == 1


@pytest.mark.django_db
def test_budgets_that_are_whole_again_are_removed(limit):
    limit("address", at_once=10)
    charge(request_of(), budget=Budget.ADDRESS)
    RateLimit.objects.create(key="old", whole_at=time.time() - 5, is_allowed=True, at=0)
    assert prune.prune().others["budgets of callers"] == 1
    assert [row.key for row in RateLimit.objects.all()] == ["address:203.0.113.9"]


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first():
    memo = throttles.Memo(size=3)
    for number in range(5):
        memo.set(number, 60.0)
    assert [bool(memo.seconds(number)) for number in range(5)] == [False, False, True, True, True]
    memo.set("past", -1.0)
    assert memo.seconds("past") == 0


def test_headers_are_only_for_who_was_counted(rf):
    response = HttpResponse()
    throttles.add_headers(rf.get("/"), response)
    assert "x-ratelimit-limit" not in response
