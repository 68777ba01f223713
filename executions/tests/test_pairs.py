"""Every ordered pair of ten actions on one run: the first is held right before its commit while
the second goes as far as it can; then they commit, in both orders where locks allow both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product

import pytest
from django.db import connection
from django.db.models import Q
from pytest_django.plugin import DjangoDbBlocker

from executions import runs, tokens
from executions.errors import Conflict
from executions.models import Run, WaitToken
from executions.tests.conftest import eventually
from executions.tests.pairs import tasks
from executions.tests.pairs.actions import ACTIONS, HOLDERS, Action
from executions.tests.pairs.invariants import check_after, check_end
from executions.tests.pairs.play import Family, Play
from executions.tests.pairs.stage import Stage

# Families parked in advance, so that a play need not wait for one.
_FAMILIES = 40
# What locks more than one run of the family: two of these could each hold what the other wants.
_ON_MANY = ("complete", "cancel", "signal", "child end", "takeover")
Way = Callable[[Play, list[Action]], bool]

# A run that has not begun has neither a holder nor anything that it waits for.
_ON_UNBEGUN = ("claim", "cancel", "time-out", "signal")


@pytest.fixture(scope="module")
def transactional_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The test database for the whole module: emptied once, not after each of many plays."""
    with django_db_blocker.unblock():
        yield
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables "
                "WHERE schemaname = current_schema() AND tablename LIKE 'executions\\_%'"
            )
            # Tables of higher apps refer to some of them.
            cursor.execute(f"TRUNCATE {cursor.fetchone()[0]} CASCADE")
        connection.close()


@pytest.fixture(scope="module")
def stage(transactional_db: None) -> Iterator[Stage]:
    """The stage of all plays."""
    stage = Stage()
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture(scope="module")
def pools(stage: Stage) -> dict[int, list[Family]]:
    """Parked families, by how many children they have."""
    return {1: [], 2: []}


def take_family(
    stage: Stage, pools: dict[int, list[Family]], scene: str, names: tuple[str, str]
) -> Family:
    """A parked family, of which both actions may end a child; or a run that has not begun."""
    if scene in ("new", "expired"):
        return Family(tasks.plain.trigger(1).id)
    children = 2 if names == ("child end", "child end") else 1
    pool = pools[children]
    if not pool:
        size = _FAMILIES // 4 if children == 2 else _FAMILIES
        with stage.curtain_up():
            parents = [handle.id for handle in tasks.parent.batch_trigger([children] * size)]
            found = Run.objects.filter(Q(root_id__in=parents) | Q(pk__in=parents), status="WAITING")
            eventually(lambda: found.count() == size * (2 + children), seconds=30)
        pool += Family.of(parents)
    return pool.pop()


def scenes(first: str, second: str) -> list[str]:
    """The states of the subject in which a pair of actions may meet."""
    both = (first, second)
    found = ["queued", "waiting"]
    if all(name in HOLDERS for name in both):
        # The first has lost the run, or the second has, or the one is sent twice.
        found += ["contested", "late"]
        found += ["resent"] * (first == second) + ["resent with more"] * (
            both == ("flush", "flush")
        )
    else:
        found.append("executing")
    if "takeover" in both:
        found.append("suspect")
    if all(name in _ON_UNBEGUN for name in both):
        found += ["new", "expired"]
    return found


@pytest.mark.parametrize(("first", "second"), list(product(ACTIONS, ACTIONS)))
def test_a_pair_of_actions_leaves_every_invariant_intact(
    stage: Stage, pools: dict[int, list[Family]], first: str, second: str
) -> None:
    plays: list[tuple[Play, list[Action]]] = []

    def perform(scene: str, perform_in: Way) -> bool:
        """One play; whether the other order of commits is possible too."""
        play = Play(
            stage, take_family(stage, pools, scene, (first, second)), scene, (first, second)
        )
        actions = prepare(play)
        is_open = perform_in(play, actions)
        check_after(play, actions)
        plays.append((play, actions))
        play.bury_workers()
        stage.put_aside(play.family.ids)
        return is_open

    found = scenes(first, second)
    for scene in found:
        with explained(stage, scene, "in order"):
            is_open = perform(scene, commit_in_order)
        if is_open:
            with explained(stage, scene, "in reverse"):
                perform(scene, commit_in_reverse)
        if scene.startswith("resent"):
            with explained(stage, scene, "one after the other"):
                perform(scene, go_one_by_one)
    scene = "suspect" if "suspect" in found else "late" if "late" in found else "executing"
    for member in ("parent", "subject", "child") if {first, second} <= {*_ON_MANY} else ():
        with explained(stage, scene, f"at the {member}"):
            perform(scene, partial(meet_at_a_row, member))
    stage.fetch_back()
    finish(stage, [play.family for play, _ in plays])
    check_end(stage, plays)


@contextmanager
def explained(stage: Stage, scene: str, way: str) -> Iterator[None]:
    """Says of a failure in which play it came up, and lets the next pair begin anew."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"Scene: {scene}. They meet {way}.")
        stage.clear()
        raise


def prepare(play: Play) -> list[Action]:
    """The two actions, ready to begin."""
    play.set_the_scene()
    sides = play.stage.sides.values()
    actions = [ACTIONS[name](play, side) for name, side in zip(play.names, sides, strict=True)]
    for action in actions:
        action.prepare()
    play.stage.forget_moves()
    return actions


def commit_in_order(play: Play, actions: list[Action]) -> bool:
    """A is held before its commit, B goes as far as it can, A commits, B goes on.

    Whether B could have been the first to commit: it did not wait for A, nor went round it.
    """
    first, second = actions
    begin_held(play, actions)
    is_open = second.future.done() or play.stage.is_at_gate(second.side.name)
    for action in (first, second):
        play.stage.open(action.side.name)
        rest(action)
    return until_done(play, actions) and is_open


def commit_in_reverse(play: Play, actions: list[Action]) -> bool:
    """A is held before its commit until B has committed."""
    first, second = actions
    begin_held(play, actions)
    play.stage.open(second.side.name)
    play.stage.until(second.future.done)
    play.stage.open(first.side.name)
    return until_done(play, actions)


def go_one_by_one(play: Play, actions: list[Action]) -> bool:
    """B begins once A has ended: a flush whose answer was lost is sent again."""
    for action in actions:
        action.begin()
        play.stage.until(action.future.done)
    return True


def meet_at_a_row(member: str, play: Play, actions: list[Action]) -> bool:
    """A third party holds a row of the family until both have begun: both may hold locks then."""
    family = play.family
    row = {"parent": family.parent, "subject": family.subject, "child": family.children[0]}[member]
    with play.stage.held(row or ""):
        for action in actions:
            action.begin()
            rest(action)
    return until_done(play, actions)


def begin_held(play: Play, actions: list[Action]) -> None:
    """Both begin, one after the other, and are held before their commit if they come so far."""
    for action in actions:
        play.stage.shut(action.side.name)
    for action in actions:
        action.begin()
        rest(action)


def until_done(play: Play, actions: list[Action]) -> bool:
    """Returns when both have ended."""
    for action in actions:
        play.stage.until(action.future.done)
    return True


def rest(action: Action) -> None:
    """Returns when an action is done, held, waits for the other one, or goes round it."""
    action.play.stage.until(action.future.done, action.is_passed_over, side=action.side.name)


def finish(stage: Stage, families: list[Family]) -> None:
    """Everything that the families still wait for comes, and an executor runs them to the end."""
    ids = [run for family in families for run in family.ids]
    for token in WaitToken.objects.filter(run_id__in=ids, status="WAITING"):
        tokens.complete(token.id, "at last")
    for family in families:
        with suppress(Conflict):
            runs.signal(family.subject, "go", "at last")
    stage.run_to_the_end(ids)
