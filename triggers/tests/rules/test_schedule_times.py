"""Intervals, moments, the sun, windows, bounds, and what is due after a time away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executions.errors import Invalid
from triggers.rules import cron, specs, window
from triggers.rules.catch_up import MOST_COUNTED, Span, due_times
from triggers.rules.scheduled_payload import build, check_own
from triggers.rules.solar import EVENTS, Solar
from triggers.rules.times import Bounded, Interval, Once, upcoming

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@given(st.integers(1, 10**7), st.integers(-(10**9), 10**9))
def test_an_interval_never_drifts(seconds, away):
    every = timedelta(seconds=seconds)
    moment = NOON + timedelta(seconds=away)
    found = Interval(every, NOON).after(moment)
    assert (found - NOON) % every == timedelta(0)
    assert moment < found <= moment + every


def test_an_interval_is_a_second_at_least_and_ends_with_time():
    with pytest.raises(Invalid, match="at least a second"):
        Interval(timedelta(milliseconds=999), NOON)
    assert Interval(DAY, NOON).after(datetime(9999, 12, 31, 13, tzinfo=UTC)) is None


def test_a_moment_is_to_come_or_has_been():
    assert Once(NOON).after(NOON - SECOND) == NOON
    assert Once(NOON).after(NOON) is None


def test_bounds_belong_to_what_they_bound():
    times = Bounded(Interval(HOUR, NOON), NOON, NOON + 2 * HOUR)
    assert upcoming(times, NOON - DAY, 9) == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    assert times.after(NOON + 2 * HOUR) is None


@pytest.mark.parametrize(
    ("length", "text"),
    [(60, "every minute"), ("90s", "every 90 seconds"), ("1d", "every day"), (1.5, "every 1500000 "
     "microseconds"), (timedelta(hours=36), "every 36 hours"), ("2w", "every 14 days")],
)  # fmt: skip
def test_a_length_is_kept_in_its_largest_period(length, text):
    spec = specs.every(length)
    assert spec.expression == text
    assert spec.times(NOON).after(NOON) == NOON + spec.length


@pytest.mark.parametrize("length", [0, 0.5, -1, "x", None, True, 3600.5])
def test_a_length_that_no_row_holds_is_refused(length):
    with pytest.raises(Invalid):
        specs.every(length)


def test_a_spec_is_told_in_words():
    assert specs.describe("*/5 * * * *") == "Every 5 minutes"
    assert specs.describe("0 0 L * *").startswith("At 12:00 AM")
    assert specs.describe("every 5 minutes") == "every 5 minutes"


# ---- the sun ------------------------------------------------------------------------------------

# As almanacs print it, to the minute, in UTC.
ALMANAC = [
    ("sunrise", 40.7128, -74.0060, datetime(2024, 6, 20, tzinfo=UTC), "09:25"),
    ("sunset", 40.7128, -74.0060, datetime(2024, 12, 21, 12, tzinfo=UTC), "21:32"),
    ("sunrise", 51.5074, -0.1278, datetime(2024, 12, 21, tzinfo=UTC), "08:04"),
    ("sunset", -33.8688, 151.2093, datetime(2024, 12, 21, tzinfo=UTC), "09:05"),
    ("solar_noon", 51.4779, 0.0, datetime(2024, 2, 11, tzinfo=UTC), "12:14"),
]


@pytest.mark.parametrize(("event", "latitude", "longitude", "since", "told"), ALMANAC)
def test_the_sun_is_where_almanacs_say(event, latitude, longitude, since, told):
    found = Solar(event, latitude, longitude).after(since)
    hour, minute = map(int, told.split(":"))
    wanted = found.replace(hour=hour, minute=minute, second=0)
    assert abs(found - wanted) <= timedelta(minutes=1, seconds=30)
    assert found - since < DAY


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(EVENTS), st.floats(-89, 89), st.floats(-180, 180),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
)  # fmt: skip
def test_each_event_of_the_sun_comes_once_a_day_or_stays_away(event, latitude, longitude, naive):
    sun = Solar(event, latitude, longitude)
    times = upcoming(sun, naive.replace(tzinfo=UTC), 4)
    assert len(times) == 4
    assert all(at.microsecond == 0 for at in times)
    # Where nights are white and near the poles events wander quickly, or are missing for months.
    assert min(later - earlier for earlier, later in pairwise(times)) > 6 * HOUR


def test_the_polar_night_ends():
    sun = Solar("sunrise", 78.22, 15.64)
    first, second = upcoming(sun, datetime(2025, 11, 15, tzinfo=UTC), 2)
    assert first.month == 2
    assert second - first < DAY


@pytest.mark.parametrize("place", [("moonrise", 0, 0), ("sunrise", 91, 0), ("sunset", 0, -181)])
def test_only_the_sun_and_the_earth_will_do(place):
    with pytest.raises(Invalid):
        Solar(*place)


# ---- windows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "interval", "seconds"),
    [
        ("", HOUR, 0), ("0m", HOUR, 0), ("0%", HOUR, 0), ("30m", HOUR, 1800), ("2h", HOUR, 3600),
        ("24h", 7 * DAY, 86_400), ("50%", HOUR, 1800), ("100%", DAY, 86_400), ("30m", None, 1800),
        ("50%", None, 0),
    ],
)  # fmt: skip
def test_a_window_is_a_length_or_a_part_of_the_interval(text, interval, seconds):
    assert window.parse(text).within(interval) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["30", "30s", "25h", "1441m", "101%", "-1m", "01m", "1.5h", "x", 5]
)
def test_other_windows_are_refused(text):
    with pytest.raises(Invalid) as caught:
        window.parse(text)
    assert caught.value.field == "window"


@given(st.text(min_size=1), st.sampled_from(["30m", "24h", "100%", "37%"]))
def test_a_schedule_has_its_place_before_the_next_time(key, text):
    place = window.place(key)
    assert 0 <= place < 1
    assert place == window.place(key)
    for following in (NOON + SECOND, NOON + HOUR, NOON + 40 * DAY):
        at = window.effective(NOON, following, window.parse(text), place)
        assert NOON <= at < following
        assert at.microsecond == 0


def test_places_are_spread():
    places = sorted(window.place(f"sched_{n}") for n in range(2000))
    assert all(abs(place - n / 2000) < 0.05 for n, place in enumerate(places))


# ---- after a time away --------------------------------------------------------------------------


def plain(nominal):
    """Without a window."""
    return nominal


def due(times, first, *, now, catch_up=HOUR, effective=plain, limit=10_000):
    """What is due of times."""
    return due_times(times, effective, first, now=now, catch_up=catch_up, limit=limit)


def test_what_is_too_old_is_told_apart_from_what_is_due():
    every = Interval(timedelta(minutes=10), NOON)
    found = due(every, NOON, now=NOON + 3 * HOUR)
    assert found.missed == Span(NOON, NOON + timedelta(minutes=110), 12)
    assert found.due == tuple(NOON + timedelta(minutes=n) for n in range(120, 181, 10))
    assert found.following == NOON + timedelta(minutes=190)


def test_a_limit_leaves_the_rest_to_the_next_look():
    found = due(Interval(SECOND, NOON), NOON, now=NOON + 9 * SECOND, limit=4)
    assert len(found.due) == 4
    assert found.following == NOON + 4 * SECOND


def test_nothing_to_come_is_said():
    assert due(Once(NOON), NOON, now=NOON).following is None
    gone = due(Once(NOON), NOON, now=NOON + DAY)
    assert (gone.missed, gone.due, gone.following) == (Span(NOON, NOON, 1), (), None)


def test_a_century_away_is_passed_over_in_a_moment():
    minutes = cron.parse("* * * * *", "Europe/Paris")
    first = minutes.after(NOON)
    found = due(minutes, first, now=NOON + 36_500 * DAY)
    assert found.missed.count == MOST_COUNTED
    assert NOON + 36_500 * DAY - found.missed.last > HOUR
    assert len(found.due) in (60, 61)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "0 */3 * * *", "30 2 * * *"]),
    st.integers(0, 5 * 86_400), st.integers(0, 86_400), st.sampled_from(["", "30m", "80%", "24h"]),
)  # fmt: skip
def test_each_time_is_missed_due_or_to_come(expression, away, catch_up, text):
    times = cron.parse(expression, "America/New_York")
    spread = window.parse(text)
    begin = datetime(2026, 3, 6, 12, tzinfo=UTC)
    first = times.after(begin)
    assert first is not None
    now = begin + timedelta(seconds=away)
    cutoff = now - timedelta(seconds=catch_up)

    def effective(nominal):
        return window.effective(nominal, times.after(nominal), spread, 0.73)

    found = due(
        times, first, now=now, catch_up=timedelta(seconds=catch_up), effective=effective,
    )  # fmt: skip
    passed = []
    nominal: datetime | None = first
    while nominal is not None and effective(nominal) <= now:
        passed.append(nominal)
        nominal = times.after(nominal)
    missed = [at for at in passed if effective(at) < cutoff]
    assert found.missed == (Span(missed[0], missed[-1], len(missed)) if missed else None)
    assert list(found.due) == [at for at in passed if effective(at) >= cutoff]
    assert found.following == nominal


# ---- payloads -----------------------------------------------------------------------------------


def test_a_payload_leaves_out_what_is_not_there():
    told = build(
        {"timestamp": "mine"}, schedule_id="sched_1", is_declarative=True, timezone="UTC",
        external_id=None, nominal=NOON, last=None, upcoming=[NOON + HOUR],
    )  # fmt: skip
    assert told == {
        "timestamp": "2026-03-01T12:00:00.000Z", "type": "DECLARATIVE", "timezone": "UTC",
        "scheduleId": "sched_1", "upcoming": ["2026-03-01T13:00:00.000Z"],
    }  # fmt: skip


@pytest.mark.parametrize("payload", [[], "x", 5, {"upcoming": []}, {"scheduleId": None}])
def test_a_payload_of_its_own_is_an_object_beside_the_fixed_fields(payload):
    with pytest.raises(Invalid) as caught:
        check_own(payload)
    assert caught.value.field.startswith("payload")
    assert check_own({"a": 1}) == {"a": 1}
    assert check_own(None) is None
