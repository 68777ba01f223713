"""Querysets that are put together once give what they would give each time."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import F, Value

from executions import runs
from executions.models import Membership, Run, Workspace
from executions.planned import Planned
from executions.registry import task

pytestmark = pytest.mark.django_db


@task("planned.task")
async def something(payload, ctx):
    """A task of these tests."""


def state_of(row):
    return {name: value for name, value in vars(row).items() if name != "_state"}


@pytest.fixture
def run_ids():
    return [runs.trigger(something, {"n": number, "é": [None, 1.5]}, tags=["a"]).id
            for number in range(3)]  # fmt: skip


def test_rows_are_those_of_the_queryset_with_relations_and_annotations(run_ids):
    def build(run_id):
        found = Run.objects.select_related("data").annotate(twice=F("event_seq") * 2)
        return found.filter(pk=run_id)

    planned = Planned(build, str)
    for run_id in run_ids:
        (row,), expected = planned(run_id), build(run_id).get()
        assert state_of(row) == state_of(expected)
        assert state_of(row.data) == state_of(expected.data)
        assert row.data.payload["é"] == [None, 1.5]
        assert vars(row)["twice"] == expected.twice
        assert (row._state.adding, row._state.db) == (False, "default")


def test_no_row_is_an_empty_list(run_ids):
    assert Planned(lambda run_id: Run.objects.filter(pk=run_id), str)("run_nowhere") == []


def test_the_queryset_is_built_once(run_ids, monkeypatch):
    built = []

    def build(run_id):
        built.append(run_id)
        return Run.objects.filter(pk=run_id)

    planned = Planned(build, str)
    assert [planned(run_id)[0].pk for run_id in run_ids] == run_ids
    assert len(built) == 1


def test_values_keep_their_places_and_may_stand_in_several(run_ids):
    people = [get_user_model().objects.create_user(name) for name in ("ada", "bo")]
    shared = Workspace.objects.create(id="workspace_x", name="shared")
    for person in people:
        Membership.objects.create(workspace=shared, user=person, role="member")
    planned = Planned(
        lambda workspace, user: Membership.objects.filter(
            workspace=workspace, user=user, workspace__pk=workspace
        ).select_related("user"),
        str, int,
    )  # fmt: skip
    for person in people:
        (row,) = planned("workspace_x", person.pk)
        assert row.user == person
    assert planned("workspace_y", people[0].pk) == []


def test_constants_of_the_queryset_stay(run_ids):
    planned = Planned(
        lambda run_id: Run.objects.annotate(word=Value("a word")).filter(
            pk=run_id, task="planned.task"
        ),
        str,
    )
    (row,) = planned(run_ids[0])
    assert vars(row)["word"] == "a word"


def test_order_and_limits_are_kept(run_ids):
    planned = Planned(lambda name: Run.objects.filter(task=name).order_by("-id")[:2], str)
    assert [row.pk for row in planned("planned.task")] == run_ids[:0:-1]


def test_a_place_that_nothing_takes_is_a_mistake():
    with pytest.raises(TypeError, match="value 1"):
        Planned(lambda run_id, other: Run.objects.filter(pk=run_id), str, str)("a", "b")


def test_values_are_data_whatever_they_look_like(run_ids):
    planned = Planned(lambda run_id: Run.objects.filter(pk=run_id), str)
    for text in ("' OR true --", "%s", "\\", "\x01value 0\x01"):
        assert planned(text) == []
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM executions_run")
        assert cursor.fetchone() == (3,)
