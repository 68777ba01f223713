"""Cron expressions against a clock that is read minute by minute, over every change of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executions.errors import Invalid
from triggers.rules import cron, cron_fields, zones
from triggers.rules.times import upcoming

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
YEARS = range(2018, 2028)
# Hours and half hours; north and south; over midnight; by the Moon (Casablanca); at 0:00 and 24:00;
# where a rule ended; where there is none.
ZONES = (
    "America/New_York", "America/Sao_Paulo", "America/Santiago", "America/Havana", "Europe/London",
    "Europe/Berlin", "Africa/Casablanca", "Asia/Beirut", "Asia/Tehran", "Australia/Lord_Howe",
    "Pacific/Chatham", "Asia/Kathmandu",
)  # fmt: skip


# ---- the oracle: it knows nothing of offsets, gaps and folds ------------------------------------


def naive_fits(expression, shown):
    """Whether a time on the wall fits, for expressions of plain numbers, `*` and `*/n`."""
    values = (shown.minute, shown.hour, shown.day, shown.month, shown.isoweekday() % 7)
    for text, value in zip(expression.split(), values, strict=True):
        if text.startswith("*/"):
            if value % int(text[2:]):
                return False
        elif text != "*" and value not in [int(part) for part in text.split(",")]:
            return False
    return True


@cache
def on_the_wall(zone, begin, end):
    """Each minute from one moment to another, and what the clock shows."""
    tz = ZoneInfo(zone)
    count = int((end - begin) / MINUTE)
    return [
        (at, at.astimezone(tz).replace(tzinfo=None))
        for at in (begin + n * MINUTE for n in range(count))
    ]


def expected(expression, zone, begin, end):
    """When it fires, by watching the clock.

    One for certain hours: when a time is first shown, or first passed over. One for every hour:
    whenever a fitting time is shown.
    """
    fired = []
    # The latest that the clock has shown, from some time before, when it had no doubt.
    latest = None
    for at, shown in on_the_wall(zone, begin - 3 * HOUR, end):
        if expression.split()[1] == "*":
            due = naive_fits(expression, shown)
        elif latest is None or shown <= latest:
            due = False
        else:
            passed = [latest + n * MINUTE for n in range(1, int((shown - latest) / MINUTE) + 1)]
            due = any(naive_fits(expression, moment) for moment in passed)
        latest = shown if latest is None else max(latest, shown)
        if due and at >= begin:
            fired.append(at)
    return fired


def times(expression, zone, begin, end):
    """When it fires, by the rule under test."""
    found = []
    parsed = cron.parse(expression, zone)
    moment = parsed.after(begin - MINUTE)
    while moment is not None and moment < end:
        found.append(moment)
        moment = parsed.after(moment)
    return found


@cache
def transitions(zone):
    """The moments at which the clock is put forward or back, to the minute."""
    tz = ZoneInfo(zone)
    found = []
    day = datetime(YEARS[0], 1, 1, tzinfo=UTC)
    while day.year < YEARS[-1] + 1:
        following = day + timedelta(days=1)
        if day.astimezone(tz).utcoffset() != following.astimezone(tz).utcoffset():
            at = day
            while at.astimezone(tz).utcoffset() == (at + MINUTE).astimezone(tz).utcoffset():
                at += MINUTE
            found.append(at + MINUTE)
        day = following
    return found


def test_the_zones_change_their_clocks_often_enough_to_prove_something():
    assert sum(len(transitions(zone)) for zone in ZONES) > 150
    assert len(transitions("Africa/Casablanca")) >= 18
    assert transitions("Asia/Kathmandu") == []


@pytest.mark.parametrize("zone", ZONES)
def test_every_minute_around_every_change_of_time_fires_by_the_rule(zone):
    for change in transitions(zone) or [datetime(2024, 3, 31, 1, tzinfo=UTC)]:
        begin, end = change - 2 * HOUR, change + 2 * HOUR
        shown = {at for _, at in on_the_wall(zone, begin, end)}
        # What the clock leaves out counts too.
        first, last = min(shown), max(shown)
        minutes = {first + n * MINUTE for n in range(int((last - first) / MINUTE) + 1)}
        for hour, minute in sorted({(at.hour, at.minute) for at in minutes}):
            expression = f"{minute} {hour} * * *"
            assert times(expression, zone, begin, end) == fast_expected(
                hour, minute, zone, begin, end
            ), (expression, change)


@cache
def _passed(zone, begin, end):
    """What each minute shows or passes over for the first time."""
    latest = None
    found = []
    for at, shown in on_the_wall(zone, begin - 3 * HOUR, end):
        if latest is not None:
            count = int((shown - latest) / MINUTE)
            passed = {latest + n * MINUTE for n in range(1, count + 1)}
            if at >= begin:
                found.append((at, {(moment.hour, moment.minute) for moment in passed}))
        latest = shown if latest is None else max(latest, shown)
    return found


def fast_expected(hour, minute, zone, begin, end):
    """As `expected`, for a time of the day."""
    return [at for at, passed in _passed(zone, begin, end) if (hour, minute) in passed]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "expression",
    ["* * * * *", "*/5 * * * *", "0 * * * *", "30 * * * *", "15,45 * * * *", "0 */2 * * *",
     "*/20 1,2,3 * * *", "59 23 * * *", "0 0 * * *", "30 0 1,15 * *", "*/30 * * * 0"],
)  # fmt: skip
def test_patterns_keep_the_rule_around_every_change_of_time(zone, expression):
    for change in transitions(zone) or [datetime(2024, 3, 31, 1, tzinfo=UTC)]:
        begin, end = change - 3 * HOUR, change + 4 * HOUR
        assert times(expression, zone, begin, end) == expected(expression, zone, begin, end), change


def test_a_whole_day_that_a_country_left_out_fires_at_its_end():
    # Samoa went from 29 to 31 December 2011.
    begin = datetime(2011, 12, 29, 12, tzinfo=UTC)
    found = times("0 9 * * *", "Pacific/Apia", begin, begin + timedelta(days=2))
    assert [at.astimezone(ZoneInfo("Pacific/Apia")).isoformat() for at in found] == [
        "2011-12-29T09:00:00-10:00",
        "2011-12-31T00:00:00+14:00",
        "2011-12-31T09:00:00+14:00",
    ]


def test_the_rules_for_gap_and_fold_by_example():
    zone = ZoneInfo("America/New_York")

    def shown(expression, day):
        begin = datetime(2026, *day, tzinfo=zone).astimezone(UTC)
        found = times(expression, "America/New_York", begin, begin + timedelta(hours=5))
        return [at.astimezone(zone).strftime("%H:%M %Z") for at in found]

    gap, fold = (3, 8), (11, 1)
    assert shown("30 2 * * *", gap) == ["03:00 EDT"]
    assert shown("*/10 2 * * *", gap) == ["03:00 EDT"]
    assert shown("0 2,3 * * *", gap) == ["03:00 EDT"]
    assert shown("30 1 * * *", fold) == ["01:30 EDT"]
    assert shown("30 * * * *", gap) == [
        "00:30 EST",
        "01:30 EST",
        "03:30 EDT",
        "04:30 EDT",
        "05:30 EDT",
    ]
    assert shown("0 * * * *", fold) == [
        "00:00 EDT",
        "01:00 EDT",
        "01:00 EST",
        "02:00 EST",
        "03:00 EST",
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.datetimes(datetime(2018, 1, 1), datetime(2027, 12, 1)),
    st.sampled_from(
        ["30 2 * * *", "*/7 * * * *", "0 0 29 2 *", "5 4 L * *", "0 12 * * 5L", "1 1 1 1 *"]
    ),
)
def test_times_only_go_forward_and_nothing_lies_between(zone, naive, expression):
    moment = naive.replace(tzinfo=UTC)
    parsed = cron.parse(expression, zone)
    found = parsed.after(moment)
    assert found is not None
    assert found > moment
    assert parsed.after(found - timedelta(microseconds=1)) == found
    middle = moment + (found - moment) / 2
    assert parsed.after(middle) == found


# ---- what an expression says --------------------------------------------------------------------

MONDAY = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("0 0 L * *", ["06-30", "07-31", "08-31"]),
        ("0 0 15,L * *", ["06-15", "06-30", "07-15"]),
        ("0 0 * * 5L", ["06-26", "07-31", "08-28"]),
        ("0 0 * * friL", ["06-26", "07-31", "08-28"]),
        ("0 0 13 * 5", ["06-05", "06-12", "06-13"]),
        ("0 0 */2 * 1", ["06-15", "06-29", "07-13"]),
        ("0 0 ? * 7", ["06-07", "06-14", "06-21"]),
        ("0 0 * * 0", ["06-07", "06-14", "06-21"]),
        ("0 0 * * sat-sun", ["06-06", "06-07", "06-13"]),
        ("0 0 * * MON-WED", ["06-02", "06-03", "06-08"]),
        ("0 0 1 jan,DEC *", ["12-01", "01-01", "12-01"]),
        ("0 0 1 */3 *", ["07-01", "10-01", "01-01"]),
        ("0 0 28-31/2 6 *", ["06-28", "06-30", "06-28"]),
        ("0 0 10/10 * *", ["06-10", "06-20", "06-30"]),
        ("@monthly", ["07-01", "08-01", "09-01"]),
        ("  @Weekly ", ["06-07", "06-14", "06-21"]),
    ],
)
def test_days_are_found(expression, wanted):
    parsed = cron.parse(expression, "UTC")
    assert [f"{at:%m-%d}" for at in upcoming(parsed, MONDAY, 3)] == wanted


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("*/20 9-10 * * *", ["09:00", "09:20", "09:40", "10:00"]),
        ("5/25 0 * * *", ["00:05", "00:30", "00:55", "00:05"]),
        ("1,2-3,50 12 * * *", ["12:01", "12:02", "12:03", "12:50"]),
        ("0 22,1 * * *", ["01:00", "22:00", "01:00", "22:00"]),
        ("0 0-23 * * *", ["01:00", "02:00", "03:00", "04:00"]),
    ],
)
def test_times_of_day_are_found(expression, wanted):
    parsed = cron.parse(expression, "UTC")
    assert [f"{at:%H:%M}" for at in upcoming(parsed, MONDAY, 4)] == wanted


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "Seconds are not supported"),
        ("60 * * * *", "'60' as minute: it lies between 0 and 59"),
        ("* 24 * * *", "'24' as hour"),
        ("* * 0 * *", "'0' as day of the month"),
        ("* * * 13 *", "'13' as month"),
        ("* * * * 8", "'8' as day of the week"),
        ("*/0 * * * *", "a step"),
        ("*/90 * * * *", "use an interval"),
        ("*/-1 * * * *", "a step"),
        ("30-10 * * * *", "backwards"),
        ("a * * * *", "not understood"),
        ("1, * * * *", "not understood"),
        ("٣ * * * *", "not understood"),
        ("* * * * L", "day of the week"),
        ("* * 5L * *", "day of the month"),
        ("* * 1W * *", "not understood"),
        ("* * * * 1#2", "not understood"),
        ("? * * * *", "not understood"),
        ("* " * 300, "at most 500"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6,9,11 *", "never fires"),
        ("0 0 */31 * 5L", "never fires"),
    ],
)
def test_what_is_wrong_is_said(expression, told):
    with pytest.raises(Invalid) as caught:
        cron.parse(expression, "UTC")
    assert told in str(caught.value)
    assert caught.value.field == "cron"


@pytest.mark.parametrize("name", ["Mars/Phobos", "", "../UTC", "/etc/passwd", "localtime", None, 5])
def test_only_a_zone_is_a_zone(name):
    with pytest.raises(Invalid) as caught:
        cron.parse("* * * * *", name)
    assert caught.value.field == "timezone"


def test_a_rare_day_is_found_and_the_end_of_time_is_none():
    assert cron.parse("0 0 29 2 *", "UTC").after(datetime(2096, 3, 1, tzinfo=UTC)) == datetime(
        2104, 2, 29, tzinfo=UTC
    )
    assert cron.parse("0 0 1 1 *", "UTC").after(datetime(9999, 6, 1, tzinfo=UTC)) is None
    assert cron.parse("* * * * *", "UTC").after(datetime(9999, 12, 31, 23, 59, tzinfo=UTC)) is None


@pytest.mark.parametrize("field", range(5))
def test_an_expression_reads_as_it_is_written(field):
    parts = ["5", "4", "3", "2", "1"]
    parts[field] = "*"
    assert cron_fields.parse("  ".join(parts)).expression == " ".join(parts)
    assert cron_fields.parse("0 0 l JUL 5l").expression == "0 0 L jul 5L"


def test_a_clock_that_shows_a_time_twice_is_asked_twice():
    zone = ZoneInfo("Europe/London")
    twice = datetime(2026, 10, 25, 1, 30)
    first, second = zones.instant(twice, zone), zones.again(twice, zone)
    assert second - first == HOUR
    assert zones.again(datetime(2026, 10, 25, 3), zone) is None
