"""Wait tokens by the unmodified SDK of Trigger.dev, and by many over real HTTP at once."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from executions import runs, tokens, workflow_runs
from executions.tests.conftest import until_status
from executions.tests.management import sdk_tasks
from executions.tests.management.node import SCRIPTS, require_sdk, run_node
from executions.tests.management.sites import Site, running_site
from executions.tests.people import REVIEW, until_asked

CALLERS = 32


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    """A running installation without limits on how often one may call."""
    with running_site(database_url, RATE_LIMIT_ADDRESS="0", RATE_LIMIT_KEY="0") as site:
        yield site


def refusal(found):
    """How a call failed: at once, and with words for people."""
    assert "unexpected" not in found, found
    assert found["seconds"] < 2, f"It was tried again: {found}"
    return found["status"], found["message"]


def test_the_sdk_makes_completes_and_lists_wait_tokens(site, ada, bo):
    require_sdk()
    foreign = tokens.create(owner=bo.user.pk).id
    run = workflow_runs.start(REVIEW, owner=ada.user.pk).id
    review = until_asked(run)["reviews"][0]["tokenId"]
    found = run_node(
        SCRIPTS / "tokens.mjs", url=site.url, key=ada.key, FOREIGN=foreign, REVIEW=review
    )

    assert found["cached"] == [False, True, True, True]
    assert found["open"] == {
        "id": True, "url": True, "status": "WAITING", "tags": ["order:7", "sdk"],
        "createdAt": True, "minutes": 60, "keyMinutes": 120, "idempotencyKey": "order-7",
    }  # fmt: skip
    assert (found["dated"], found["minutes"]) == (True, 10)

    assert found["completed"] == found["twice"] == {"success": True}
    output = {"status": "approved", "at": "1970-01-01T00:00:00.000Z"}
    assert found["done"] == ["COMPLETED", output, True, True]
    assert found["answer"] == {"ok": True, "output": output}
    assert found["nothing"] == [{"success": True}, None]

    assert found["callback"] == [200, {"success": True}, {"from": "outside"}]
    assert (found["looked"], found["hidden"]) == (405, 404)

    assert found["expired"] == ["TIMED_OUT", "WaitpointTimeoutError", True]
    assert (found["tooLate"], found["stays"]) == ({"success": True}, "TIMED_OUT")

    assert (found["byTag"], found["byTags"], found["byKey"]) == (1, 1, True)
    assert found["byStatus"] == [1, 3]
    assert found["byTime"] == [True, 0]
    assert found["pages"] is True

    assert refusal(found["completesNoOther"])[0] == 403
    assert refusal(found["readsNothing"])[0] == 403
    assert (found["completes"], found["completedPublicly"]) == ({"success": True}, "public")
    assert found["reads"] == "public"
    assert refusal(found["completesNothing"])[0] == 403
    assert refusal(found["useless"])[0] == 403
    for name, words in (("expiredToken", "has expired"), ("tooLong", "30 days")):
        status, message = refusal(found[name])
        assert status == 401
        assert "Public Access Token" in message
        assert words in message

    assert refusal(found["foreign"])[0] == refusal(found["foreignComplete"])[0] == 404
    assert "timeout" in refusal(found["badTimeout"])[1]
    assert refusal(found["review"])[0] == 400
    assert found["reviewed"] == {"success": True}
    assert until_status(run, "COMPLETED").output["outputs"] == {"count": 4}
    assert "inside" in found["outside"]


def test_one_of_many_calls_over_the_network_completes_a_token(site, ada):
    made = tokens.create(owner=ada.user.pk)
    run = runs.trigger(sdk_tasks.token, made.id, owner=ada.user.pk).id
    until_status(run, "WAITING")
    line, host = threading.Barrier(CALLERS), urlsplit(site.url).netloc
    complete = f"/api/v1/waitpoints/tokens/{made.id}/complete"
    by_key = {"Authorization": f"Bearer {ada.key}", "Content-Type": "application/json"}

    def call(number):
        link = http.client.HTTPConnection(host, timeout=30)
        link.connect()
        line.wait(30)
        if number % 2:
            link.request("POST", complete, json.dumps({"data": number}), by_key)
        else:
            link.request("POST", urlsplit(made.url).path, json.dumps(number))
        answer = link.getresponse()
        found = answer.status, json.loads(answer.read())
        link.close()
        return found

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(call, range(CALLERS)))
    assert answers == [(200, {"success": True})] * CALLERS
    output = tokens.retrieve(made.id).output
    assert output in range(CALLERS)
    assert until_status(run, "COMPLETED").output == {"ok": True, "output": output}
