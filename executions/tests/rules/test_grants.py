"""What the scopes of public tokens allow, and what they cannot hand on."""

from __future__ import annotations

import pytest

from executions.rules.grants import MAX_SCOPE, MAX_SCOPES, Grants, needs, parse
from executions.rules.scopes import EVERY_SCOPE, Scope

READ_ONLY = frozenset({Scope.READ})


def of(*scopes, held=EVERY_SCOPE, **more):
    return Grants(frozenset(scopes), held, **more)


@pytest.mark.parametrize(
    ("scope", "asked", "allowed"),
    [
        ("read:runs:run_1", ("read", "runs", "run_1"), True),
        ("read:runs:run_1", ("read", "runs", "run_2"), False),
        ("read:runs:run_1", ("read", "runs", "run_1:x"), False),
        ("read:runs:run_1", ("read", "runs", None), False),
        ("read:runs:run_1", ("read", "tags", "run_1"), False),
        ("read:runs:run_1", ("write", "runs", "run_1"), False),
        ("read:runs:", ("read", "runs", ""), False),
        ("read:runs:", ("read", "runs", None), False),
        ("read:runs", ("read", "runs", "run_1"), True),
        ("read:runs", ("read", "runs", None), True),
        ("read:runs", ("read", "tasks", "t"), False),
        ("read:tags:user:7", ("read", "tags", "user:7"), True),
        ("read:tags:user", ("read", "tags", "user:7"), False),
        ("read:tags:user:7", ("read", "tags:user", "7"), False),
        ("read:tags:user:7", ("read:tags", "user", "7"), False),
        ("read:all", ("read", "anything", "x"), True),
        ("read:all", ("write", "runs", "x"), False),
        ("read", ("read", "runs", "run_1"), False),
        ("READ:RUNS", ("read", "runs", "run_1"), False),
        ("read:runs*", ("read", "runs", "run_1"), False),
        ("trigger:tasks:t", ("trigger", "tasks", "t"), True),
        ("trigger:tasks:t", ("batchTrigger", "tasks", "t"), False),
        ("trigger:tasks:t", ("read", "tasks", "t"), False),
        ("batchTrigger:tasks:t", ("batchTrigger", "tasks", "t"), True),
        ("batchTrigger:tasks:t", ("trigger", "tasks", "t"), False),
        ("write:tasks:t", ("trigger", "tasks", "t"), True),
        ("write:tasks:t", ("batchTrigger", "tasks", "t"), True),
        ("write:tasks", ("trigger", "tasks", "t"), True),
        ("write:all", ("trigger", "tasks", "t"), True),
        ("write:all", ("read", "runs", "r"), False),
        ("write:waitpoints:w", ("write", "waitpoints", "w"), True),
        ("write:waitpoints:w", ("write", "waitpoints", "v"), False),
        ("admin", ("read", "runs", "r"), True),
        ("admin", ("write", "waitpoints", "w"), True),
        ("admin", ("trigger", "tasks", "t"), True),
        ("admin:runs", ("read", "runs", "r"), False),
    ],
)
def test_a_scope_allows_what_it_says(scope, asked, allowed):
    assert of(scope).allows(*asked) is allowed


def test_no_scopes_allow_nothing_and_several_add_up():
    assert not of().allows("read", "runs", "run_1")
    both = of("read:runs:run_1", "read:tags:t")
    assert both.allows("read", "runs", "run_1")
    assert both.allows("read", "tags", "t")


@pytest.mark.parametrize(
    ("asked", "needed"),
    [
        (("read", "runs"), {Scope.READ}),
        (("trigger", "tasks"), {Scope.TRIGGER}),
        (("batchTrigger", "tasks"), {Scope.TRIGGER}),
        (("write", "tasks"), {Scope.TRIGGER}),
        (("write", "waitpoints"), {Scope.COMPLETE}),
        (("write", "runs"), {Scope.TRIGGER, Scope.CANCEL, Scope.REPLAY}),
        (("write", "sessions"), EVERY_SCOPE),
        (("delete", "runs"), EVERY_SCOPE),
    ],
)
def test_nothing_is_handed_on_that_the_key_may_not_do(asked, needed):
    action, kind = asked
    assert needs(action, kind) == needed
    everything = {"admin", f"{action}:all", f"{action}:{kind}", f"{action}:{kind}:x"}
    assert of(*everything, held=frozenset(needed)).allows(action, kind, "x")
    for lacking in needed:
        held = EVERY_SCOPE - {lacking}
        assert not of(*everything, held=held).allows(action, kind, "x")


def test_a_token_for_one_use_is_good_for_triggering_only():
    once = of("admin", "read:runs", "write:waitpoints:w", "trigger:tasks:t", one_time="digest")
    assert once.allows("trigger", "tasks", "t")
    assert once.allows("batchTrigger", "tasks", "t")
    assert not once.allows("read", "runs", "r")
    assert not once.allows("write", "waitpoints", "w")
    assert not once.allows("trigger", "runs", "r")


def test_scopes_are_a_list_of_short_texts():
    assert parse(None) == frozenset()
    assert parse([]) == frozenset()
    assert parse(["read:runs", "read:runs"]) == {"read:runs"}
    for bad in (
        "read:runs", {"read": True}, [1], [None], ["x"] * (MAX_SCOPES + 1), ["x" * (MAX_SCOPE + 1)],
    ):  # fmt: skip
        with pytest.raises(ValueError, match="scopes"):
            parse(bad)
