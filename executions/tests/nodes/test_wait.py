"""Tests of wait: how long, and until when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from executions.tests.fakes import FakeContext
from executions.tests.flows import flow, run

MOMENT = datetime(2099, 1, 2, 3, 4, 5, tzinfo=UTC)


def sleeps(config, **inputs):
    ctx = FakeContext()
    result = run(flow({"w": ("wait", config)}), ctx=ctx, inputs=inputs)
    return result, ctx.world.sleeps.get("w/sleep")


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({"duration": 1500}, 1.5),
        ({"duration": "1500"}, 1.5),
        ({"duration": 2, "durationUnit": "minutes"}, 120),
        ({"durationValue": 3}, 3),
        ({"durationValue": "{{n}}", "durationUnit": "hours"}, 7200),
        ({"durationValue": 1, "durationUnit": "day"}, 86400),
        ({"delayType": "fixed", "duration": "5", "durationUnit": "seconds"}, 5),
    ],
)
def test_durations_are_read_in_all_units(config, seconds):
    result, slept = sleeps(config, n=2)
    assert result["success"]
    assert slept == seconds


@pytest.mark.parametrize(
    "moment", ["2099-01-02T03:04:05Z", "2099-01-02T03:04:05", MOMENT.timestamp() * 1000]
)
def test_a_moment_is_slept_until(moment):
    result, slept = sleeps({"waitType": "until", "timestamp": "{{at}}"}, at=moment)
    assert result["success"]
    assert slept == pytest.approx(MOMENT.timestamp(), abs=1)


def test_a_moment_in_the_past_does_not_wait():
    result, slept = sleeps({"duration": "2001-01-01T00:00:00Z", "durationUnit": "timestamp"})
    assert slept is None
    assert result["nodes"]["w"]["output"]["skipped"] is True


@pytest.mark.parametrize(
    "config",
    [
        {"duration": -1},
        {"duration": "soon"},
        {"duration": 1, "durationUnit": "moons"},
        {"durationValue": 99_999, "durationUnit": "days"},
        {"waitType": "until", "timestamp": "later"},
    ],
)
def test_what_is_no_time_fails_once_with_the_reason(config):
    result, _ = sleeps(config)
    assert not result["success"]
    assert result["nodes"]["w"]["attempts"] == 1


def test_an_event_from_outside_ends_a_wait():
    ctx = FakeContext()
    ctx.world.answers["w/event"] = [{"signed": True}]
    config = {
        "triggerType": "webhook", "provider": "docusign", "event": "completed",
        "outputVariable": "sign",
    }  # fmt: skip
    result = run(flow({"w": ("wait", config)}), ctx=ctx)
    assert result["outputs"] == {"sign": {"signed": True}}
    assert dict(ctx.world.events)["paused"]["waitingFor"] == "docusign.completed"
