"""The unmodified SDK of Trigger.dev against a running installation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from executions import runs
from executions.registry import get_task
from executions.tests.management import sdk_tasks
from executions.tests.management.node import SCRIPTS, require_sdk, run_node
from executions.tests.management.sites import Site, running_site
from executions.tests.people import SUM
from executions.tests.rules.test_superjson import CASES


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    """An installation that the SDK is there for."""
    require_sdk()
    with running_site(database_url) as site:
        yield site


def is_refused(found, status, kind):
    """Whether a call failed as it should, at once and with words for people."""
    assert "unexpected" not in found, found
    assert (found["status"], found["kind"]) == (status, kind), found
    assert found["seconds"] < 2, f"It was tried again: {found}"
    return found["message"]


def test_runs_are_triggered_read_listed_and_changed(site, ada, bo):
    assert get_task("sdk.echo") is sdk_tasks.echo
    foreign = runs.trigger("sdk.echo", 1, owner=bo.user.pk, delay=3600).id
    _, reader = ada.row.issue(ada.user, name="reader", scopes=["read"])
    found = run_node(
        SCRIPTS / "runs.mjs", url=site.url, key=ada.key, FOREIGN=foreign, READER=reader
    )

    assert found["object"] == {"a": [1, None, {"b": "ü"}]}
    assert found["rich"] == {
        "at": "2026-01-02T03:04:05.678Z",
        "big": "12345678901234567890",
        "set": [1, "2026-01-02T03:04:05.678Z"],
        "map": {},
    }
    assert (found["text"], found["number"], found["nothing"]) == ("just text", 5, None)
    assert found["large"] == [400_000, 400_000]
    assert is_refused(found["tooLarge"], 413, "ApiError")
    assert found["slashed"] == "odd"

    assert found["handle"]["hasToken"]
    run_id = found["handle"]["id"]
    assert found["ownStatus"] == run_id
    done = found["done"]
    assert (done["status"], done["payload"], done["output"]) == (
        "COMPLETED", {"mine": True}, {"mine": True},
    )  # fmt: skip
    assert (done["tags"], done["metadata"], done["attemptCount"]) == (["one", "two"], {"m": 1}, 1)
    assert (done["isCompleted"], done["isSuccess"], done["isQueued"]) == (True, True, False)
    assert (done["createdAt"], done["updatedAt"]) == (True, True)
    run = runs.retrieve(run_id)
    assert (run.priority, run.max_attempts, run.workspace_id) == (3, 2, ada.workspace)
    assert found["failed"]["status"] == "FAILED"
    assert found["failed"]["error"]["message"] == "no luck with 7"
    assert found["failed"]["error"]["name"] == "ValueError"
    assert found["family"] == {
        "output": {"from": "parent"},
        "children": [["sdk.echo", 1, "triggerAndWait"]],
    }

    assert found["idempotent"] == [True, True]
    assert found["plainKey"] is True
    assert found["afterReset"] is True
    assert is_refused(found["resetTwice"], 404, "NotFoundError")

    assert found["delayed"] == "DELAYED"
    assert found["moved"] == 120
    assert found["ranLate"] == "COMPLETED"
    assert is_refused(found["rescheduleLate"], 409, "ConflictError")
    assert found["debounced"] == [True, "last"]

    assert (found["cancel"], found["cancelTwice"]) == (True, True)
    assert found["cancelled"] == ["CANCELED", True, {"asleep": True}]
    assert found["replayed"] == {"mine": True}
    assert found["changed"] == [{"at": "2026-01-02T03:04:05.678Z"}, ["again"]]

    assert found["byTag"] is True
    assert found["byStatus"] == ["CANCELED", "FAILED"]
    assert found["byTask"] == ["sdk.fail"]
    assert found["byQueue"] == ["sdk/slashed"]
    assert found["byTime"] == [0, 0, True]
    assert found["isTest"] == [0, True]
    assert (found["pages"], found["backAndForth"]) == (True, True)
    assert "version" in is_refused(found["badVersion"], 400, "BadRequestError")

    assert is_refused(found["badKey"], 401, "AuthenticationError")
    assert "sdk.nobody" in is_refused(found["unknownTask"], 404, "NotFoundError")
    assert is_refused(found["unknownRun"], 404, "NotFoundError")
    assert is_refused(found["foreignRun"], 404, "NotFoundError")
    assert is_refused(found["foreignCancel"], 404, "NotFoundError")
    assert "ttl" in is_refused(found["badOption"], 400, "BadRequestError")
    assert "region" in is_refused(found["region"], 400, "BadRequestError")
    assert "10" in is_refused(found["manyTags"], 400, "BadRequestError")
    assert "trigger" in is_refused(found["readOnly"], 403, "PermissionDeniedError")
    assert found["reader"] is True
    assert runs.retrieve(foreign).status == "DELAYED"


def test_batches_queues_and_public_tokens(site, ada, staff):
    found = run_node(SCRIPTS / "batches.mjs", url=site.url, key=ada.key, STAFF=staff.key)

    assert found["handle"] == {"count": 3, "hasToken": True}
    assert found["done"] == {"status": "COMPLETED", "count": 3, "errors": [], "completed": True}
    assert found["outputs"] == [
        [0, None, 0, True, "batchTrigger"],
        [1, "1970-01-01T00:00:00.000Z", 0, True, "batchTrigger"],
        [2, None, 150_000, True, "batchTrigger"],
    ]
    assert (found["byBatch"], found["own"]) == (True, True)
    assert found["mixed"] == {
        "status": "PARTIAL_FAILED",
        "runs": 2,
        "errors": [[2, "sdk.nobody", "not_found"]],
    }
    assert found["byTask"] == "COMPLETED"
    assert found["streamed"] == ["COMPLETED", 5]
    assert found["keyed"] is True
    assert found["many"] == ["COMPLETED", 1000]
    assert found["manySeconds"] < 5
    # A batch's failure comes wrapped; what was wrong is in its message.
    assert "1,000" in found["tooMany"]["message"]
    assert found["tooMany"]["seconds"] < 2
    assert is_refused(found["unknownBatch"], 404, "NotFoundError")

    queue = found["queue"]
    assert (queue["name"], queue["type"], queue["version"]) == ("sdk shared/queue", "custom", "V1")
    assert (queue["paused"], queue["concurrencyLimit"]) == (False, None)
    assert found["queueByName"] == found["queueById"] == "sdk shared/queue"
    assert {"sdk.echo", "sdk shared/queue"} <= set(found["queuesListed"])
    assert is_refused(found["unknownQueue"], 404, "NotFoundError")
    assert "installation" in is_refused(found["pauseForbidden"], 403, "PermissionDeniedError")
    assert (found["paused"], found["queued"]) == ([True, True], 1)
    assert (found["overridden"]["current"], found["overridden"]["override"]) == (3, 3)
    assert is_refused(found["badLimit"], 400, "BadRequestError")
    assert (found["reset"], found["resumed"], found["ran"]) == (None, False, "COMPLETED")

    assert found["readsItsRun"] is True
    assert is_refused(found["readsNoOther"], 403, "PermissionDeniedError")
    assert is_refused(found["cancelsNothing"], 403, "PermissionDeniedError")
    assert (found["readsByTag"], found["listsByTag"]) == (True, 1)
    assert is_refused(found["listsNoMore"], 403, "PermissionDeniedError")
    assert (found["triggers"], found["triggersOften"]) == ("by token", 2)
    assert "one use" in is_refused(found["triggersOnce"], 403, "PermissionDeniedError")
    assert is_refused(found["triggersNoOther"], 403, "PermissionDeniedError")
    assert found["triggersLarge"] == 200_000
    assert found["batchByToken"] == 2
    for wrong in ("batchOnce", "batchNoOther"):
        assert "public" in found[wrong]["message"].lower()
        assert found[wrong]["seconds"] < 2


def test_the_samples_of_the_plan_work_as_they_stand(site, ada):
    found = run_node(SCRIPTS / "plan.mjs", url=site.url, key=ada.key, DEFINITION=SUM)
    executed = found["executed"]
    assert (executed["status"], executed["output"]["outputs"]) == ("COMPLETED", {"sum": 5})
    assert executed["metadata"] == executed["id"]
    assert (found["cancel"], found["cancelled"]) == ({"success": True}, "CANCELED")
    assert (found["submit"], found["answered"]) == ({"success": True}, {"message": "yes"})


def test_what_the_sdk_sends_is_what_was_recorded():
    require_sdk()
    assert run_node(SCRIPTS / "superjson.mjs", url="", key="") == CASES
