"""What must hold after two actions, and again once an executor has run everything to its end."""

from __future__ import annotations

from collections.abc import Sequence

from executions.models import Run, RunEvent, Signal, Step, WaitToken, Worker
from executions.rules.statuses import StepStatus, is_final, may_move
from executions.tests.pairs.actions import Action, Claim, Flush
from executions.tests.pairs.play import Play
from executions.tests.pairs.stage import Stage

_STEP_EVENT = "step.completed"
# Runs that wait although there is something for them to do.
_FORGOTTEN = """
SELECT r.id FROM executions_run r WHERE r.id = ANY(%s) AND r.status = 'WAITING' AND (
  r.cancel_requested_at IS NOT NULL
  OR EXISTS (SELECT FROM executions_step s JOIN executions_waittoken t ON t.id = s.input ->> 'token'
             WHERE s.run_id = r.id AND s.kind = 'wait' AND s.status = 'WAITING'
               AND t.status <> 'WAITING')
  OR EXISTS (SELECT FROM executions_step s WHERE s.run_id = r.id AND s.kind = 'children'
             AND s.status = 'WAITING' AND s.pending = 0)
  OR EXISTS (SELECT FROM executions_step s JOIN executions_signal g ON g.run_id = s.run_id
             WHERE s.run_id = r.id AND s.kind = 'signal' AND s.status = 'WAITING'
               AND g.consumed_by IS NULL AND g.name = s.input ->> 'signal'))
"""


# Runs whose events are not numbered 1..n.
_GAPS = """
SELECT r.id FROM executions_run r WHERE r.id = ANY(%s) AND NOT r.event_seq = ALL (
  SELECT unnest(ARRAY[count(*), max(seq) - min(seq) + 1, max(seq)]) FROM executions_runevent e
  WHERE e.run_id = r.id)
"""


def check_after(play: Play, actions: Sequence[Action]) -> None:
    """What two actions may leave behind. Raises what went wrong in one of them."""
    for action in actions:
        assert action.outcome is not None
    check_rows(play.stage, play.family.ids)
    check_tokens(play, actions)
    assert play.stage.ask(_FORGOTTEN, play.family.ids) == [], "A wake was lost."
    for action in actions:
        if isinstance(action, Claim):
            check_knowledge(play, action)
        elif isinstance(action, Flush):
            check_fence(action)
    check_effects(play, {action.name: action for action in actions})


def check_rows(stage: Stage, ids: list[str]) -> None:
    """Every move since the actions began was legal, no final run was touched, no event is missing.

    A change of a final run counts as a move to where it is, which is not legal.
    """
    moves = stage.ask("SELECT DISTINCT old, new FROM pair_moves WHERE run_id = ANY(%s)", ids)
    assert [old for old, new in moves if new == "signalled" and is_final(old)] == []
    assert [m for m in moves if m[1] != "signalled" and not may_move(*m)] == []
    assert stage.ask(_GAPS, ids) == [], "Events have gaps."


def check_tokens(play: Play, actions: Sequence[Action]) -> None:
    """A token has one outcome, and whoever was told of success made it."""
    completers = [action for action in actions if action.name == "token completion"]
    winners = [f"by {action.side.name}" for action in completers if action.outcome == "done"]
    for token in WaitToken.objects.filter(run_id=play.family.subject):
        assert [token.output] == winners or (token.output is None and not winners)
        moves = play.stage.ask("SELECT new FROM pair_moves WHERE run_id = ANY(%s)", [token.id])
        assert moves == [("COMPLETED",)] * len(winners)
    if completers:
        assert len(winners) == 1


def check_knowledge(play: Play, action: Claim) -> None:
    """Whoever holds a run knows what its waits came to, or will find that it was woken since."""
    claimed = action.outcome
    rows = [row for row in claimed.rows if row["id"] == play.family.subject]
    if not rows:
        return
    run = Run.objects.get(pk=play.family.subject)
    if run.claim != rows[0]["claim"] or run.wakes != rows[0]["wakes"]:
        return
    found = claimed.found.get(run.id)
    assert rows[0]["cancel_requested"] == (run.cancel_requested_at is not None)
    for token in WaitToken.objects.filter(run=run).exclude(status="WAITING"):
        assert found is not None and token.id in found.tokens
    for step in run.steps.filter(kind="children", pending=0, status=StepStatus.WAITING):
        assert found is not None and step.key in found.children
    if run.steps.filter(kind="signal", status=StepStatus.WAITING).exists():
        for signal in Signal.objects.filter(run=run, consumed_by=None):
            assert found is not None and signal.id in [one[0] for one in found.signals]


def check_fence(action: Flush) -> None:
    """What a holder was told is written is there; one that lost the run wrote nothing."""
    run_id = action.row["id"]
    is_there = Step.objects.filter(run_id=run_id, key=f"by {action.mark}").exists()
    if action.is_fenced:
        assert not is_there, "A worker that had lost the run wrote for it."
    else:
        assert is_there == (action.outcome in ("written", "moved", "held back"))
    told = [event.data["key"] for event in RunEvent.objects.filter(run_id=run_id, type=_STEP_EVENT)]
    assert told.count(f"by {action.mark}") == is_there, "A flush was applied twice."
    assert not action.outcome.startswith("refused")


def check_effects(play: Play, actions: dict[str, Action]) -> None:
    """What each action is for has come about, unless the run ended before."""
    run = Run.objects.get(pk=play.family.subject)
    if actions.get("cancel") is not None:
        assert run.cancel_requested_at is not None or run.is_final
    signal = actions.get("signal")
    if signal is not None:
        told = "done" if Signal.objects.filter(run=run).exists() else "refused"
        assert signal.outcome == told
        assert told == "done" or run.is_final
    if "takeover" in actions and play.holder:
        assert Worker.objects.get(pk=play.holder).dead_at is not None
        assert run.status != "EXECUTING" or run.worker != play.holder


def check_end(stage: Stage, plays: Sequence[tuple[Play, Sequence[Action]]]) -> None:
    """Everything is final, and what each subject saw is of one piece with what it waited for."""
    ids = [run for play, _ in plays for run in play.family.ids]
    check_rows(stage, ids)
    family = Run.objects.filter(pk__in=ids)
    assert not family.filter(finished_at=None).exists()
    assert not family.filter(status__in=("FAILED", "SYSTEM_FAILURE")).exists()
    outputs = {run.id: run.output for run in family.filter(status="COMPLETED")}
    for token in WaitToken.objects.filter(run_id__in=ids):
        seen = outputs.get(token.run_id or "")
        if isinstance(seen, dict) and "token" in seen:
            assert seen["token"] == token.output
    for _, actions in plays:
        for action in actions:
            if isinstance(action, Flush):
                check_fence(action)
