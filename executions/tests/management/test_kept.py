"""What triggers leave behind, and for how long it is kept."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection

from executions import parcels, prune, repeats
from executions.models import AnsweredRequest, Batch, BatchItem, Parcel, Run
from executions.rules.ids import first_id
from executions.tests.conftest import until_status
from executions.tests.management.test_batches import create, items

AT_ONCE = dict.fromkeys(prune.retention(), timedelta())


def age(batch_id, days=400):
    """A batch as one of that many days ago."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT flowmaestro_now() - make_interval(days => %s)", [days])
        moment = cursor.fetchone()[0]
        old = first_id("batch", moment)[:22] + batch_id[22:]
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            "UPDATE executions_batch SET id = %s, created_at = %s WHERE id = %s",
            [old, moment, batch_id],
        )
        cursor.execute(
            "UPDATE executions_batchitem SET batch_id = %s WHERE batch_id = %s", [old, batch_id]
        )
        cursor.execute("SET session_replication_role = DEFAULT")
    return old


def test_a_batch_goes_when_its_runs_have_gone(ada, executor):
    empty, broken, full = create(ada, 1)["id"], create(ada, 1)["id"], create(ada, 2)["id"]
    ada.lines(broken, items(1, task="nobody"))
    ada.lines(full, items(2))
    for run in Run.objects.all():
        until_status(run.id, "COMPLETED")
    new = create(ada, 1)["id"]
    for batch in (empty, broken):
        age(batch)
    full = age(full)
    prune.prune({**AT_ONCE, "COMPLETED": timedelta(days=1000)})
    assert set(Batch.objects.values_list("id", flat=True)) == {full, new}
    assert BatchItem.objects.count() == 2
    removed = prune.prune(AT_ONCE, dry_run=True)
    assert removed.others["batches"] == 0
    prune.prune(AT_ONCE)
    assert prune.prune(AT_ONCE).others["batches"] == 0
    assert list(Batch.objects.values_list("id", flat=True)) == [new]
    assert not BatchItem.objects.exists()


def test_uploads_are_kept_for_a_day(ada):
    old, _ = parcels.announce(ada.workspace)
    parcels.announce(ada.workspace)
    Parcel.objects.filter(pk=old.pk).update(created_at=old.created_at - timedelta(days=2))
    assert prune.prune(AT_ONCE).others["uploads"] == 1
    Parcel.objects.update(created_at=old.created_at - timedelta(days=2))
    parcels.announce(ada.workspace)
    assert Parcel.objects.count() == 1


def test_answers_are_known_until_they_expire(ada):
    assert repeats.once("k", "s", "1", lambda: "a") == ("a", False)
    assert repeats.once("k", "s", "1", lambda: "b") == ("a", True)
    AnsweredRequest.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert repeats.once("k", "s", "1", lambda: "c") == ("c", False)
    AnsweredRequest.objects.update(expires_at="2020-01-01T00:00:00Z")
    assert prune.prune(AT_ONCE).others["keys of answered requests"] == 1
    assert not AnsweredRequest.objects.exists()
