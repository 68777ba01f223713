"""The operators' pages in a real browser: look at a run, fork it, read what came of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from executions import runs
from executions.models import Run, Step, WaitToken
from executions.registry import task
from executions.rules.retry import Retry
from executions.tests.admin_pages import HOSTILE, fails, page_of, plain, waits
from executions.tests.bodies import ONCE, until_parked
from executions.tests.conftest import until_status
from executions.tests.people import person
from executions.tests.test_browser import ARGUMENTS, CHROMIUM, PATIENCE_MS, apart

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"There is no {CHROMIUM}.")
# Where pictures of the pages go, for whoever wants to look at them.
PICTURES = os.environ.get("ADMIN_PICTURES")
SLOW = Retry(max_attempts=3, min_timeout=0.3, factor=1, randomize=False)


@task("admin.everything", retry=ONCE)
async def everything(payload: Any, ctx: Any) -> Any:
    """Steps, a retry, a nap and a wait."""
    tries: list[int] = []

    def unsteady() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("The other side hung up.")
        return len(tries)

    ctx.expose("phase", "begun")
    ctx.metadata.set("shown", HOSTILE)
    await ctx.step("fetch", lambda: {"rows": 3, "note": HOSTILE})
    await ctx.step("unsteady", unsteady, retry=SLOW)
    await ctx.sleep(seconds=0.6)
    await ctx.step("summarise", lambda: {"ok": True})
    token = await ctx.create_token("approval", timeout="1h")
    answer = await ctx.wait_for_token(token)
    return {"approved": answer.output}


@pytest.fixture
def page(live_server: Any) -> Iterator[Page]:
    """A page on which a superuser is logged in; an error of its script fails the test."""
    person("ada", is_staff=True, is_superuser=True)
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
        page.goto(f"{live_server.url}/admin/")
        page.fill("#id_username", "ada")
        page.fill("#id_password", "a good password")
        page.click("button[type=submit]")
        page.wait_for_url(f"{live_server.url}/admin/")
        yield page
        browser.close()
    assert errors == []


def picture(page: Page, name: str, *, is_whole: bool = True) -> None:
    """Keeps pictures of the page in light and dark where somebody asked for them."""
    if PICTURES:
        for theme in ("light", "dark"):
            page.evaluate(
                "dark => document.documentElement.classList.toggle('dark', dark)", theme == "dark"
            )
            page.screenshot(path=str(Path(PICTURES) / f"{name}-{theme}.png"), full_page=is_whole)


def test_a_run_is_looked_at_and_forked(executor: Any, page: Page, live_server: Any) -> None:
    run_id = apart(runs.trigger, everything, {"who": HOSTILE}, tags=["demo", "red"]).id
    apart(until_status, run_id, "WAITING", seconds=15)
    apart(_until_at_the_token, executor, run_id)
    page.goto(live_server.url + page_of(run_id))
    lanes = page.locator(".fm-timeline ol .fm-row")
    expect(lanes.filter(has_text="unsteady")).to_contain_text("attempt 3")
    expect(lanes.filter(has_text="approval:wait")).to_contain_text("waiting")
    expect(page.locator("#data")).to_contain_text("<script>alert(1)</script>")
    assert page.locator(".fm-section script, .fm-section img").count() == 0
    widths = lanes.filter(has_text="unsteady").locator("rect").count()
    assert widths >= 3
    picture(page, "run")

    page.locator("#steps tr").filter(has_text="fetch").get_by_text("Fork here").click()
    expect(page.locator("#id_output")).to_have_value(_contains("rows"))
    page.check("input[name=how][value=edit]")
    page.fill("#id_output", '{"rows": 4')
    page.fill("#id_reason", "What if there were four?")
    picture(page, "fork")
    page.click("button.fm-main")
    expect(page.locator("#content")).to_contain_text("This is not JSON")
    page.fill("#id_output", '{"rows": 4}')
    page.click("button.fm-main")
    page.wait_for_url("**/change/")
    assert run_id[4:] not in page.url
    fork = apart(lambda: Run.objects.get(forked_from=run_id).pk)
    apart(_until_at_the_token, executor, fork)
    page.reload()
    expect(page.locator(".fm-timeline")).to_contain_text("copied from the run this is a fork of")
    picture(page, "forked")

    page.locator("#tokens").get_by_text("Complete").click()
    page.fill("#id_output", '"yes"')
    page.fill("#id_reason", "The boss said yes.")
    page.click("button.fm-main")
    apart(until_status, fork, "COMPLETED")
    page.goto(live_server.url + page_of(fork))
    expect(page.locator("#data")).to_contain_text('"approved": "yes"')
    expect(page.locator("#audit")).to_contain_text("The boss said yes.")
    picture(page, "done")


def _contains(text: str) -> Any:
    import re

    return re.compile(text)


def _until_at_the_token(executor: Any, run_id: str) -> None:
    from executions.tests.conftest import eventually

    eventually(lambda: WaitToken.objects.filter(run_id=run_id).exists(), seconds=15)
    until_parked(executor, run_id)


def test_five_hundred_steps_and_one_are_both_legible(page: Page, live_server: Any) -> None:
    many, one = apart(_long_and_short)
    page.goto(live_server.url + page_of(many))
    assert page.locator(".fm-timeline ol .fm-row").count() == 500
    box = page.locator(".fm-timeline").bounding_box()
    assert box is not None and box["height"] < 700
    picture(page, "many", is_whole=False)
    page.goto(live_server.url + page_of(one))
    row = page.locator(".fm-timeline ol .fm-row")
    assert row.count() == 1
    bar = row.locator("rect").bounding_box()
    assert bar is not None and bar["width"] > 100
    picture(page, "one")


def _long_and_short() -> tuple[str, str]:
    """A run of 500 steps, and one of one."""
    many, one = runs.trigger(plain, 1).id, runs.trigger(plain, 2).id
    start = runs.retrieve(many).created_at
    made = [
        Step(
            run_id=many, key=f"part-{n}/load", kind="step" if n % 7 else "sleep",
            status="FAILED" if n % 50 == 3 else "COMPLETED", seq=n,
            started_at=start + timedelta(seconds=n),
            finished_at=start + timedelta(seconds=n + 1 + n % 9),
        )
        for n in range(500)
    ]  # fmt: skip
    made.append(
        Step(
            run_id=one, key="only", kind="step", status="COMPLETED", seq=1, started_at=start,
            finished_at=start + timedelta(seconds=2),
        )
    )  # fmt: skip
    Step.objects.bulk_create(made)
    Run.objects.filter(pk__in=[many, one]).update(started_at=start)
    return many, one


def test_the_list_is_filtered_and_turned_over(page: Page, live_server: Any) -> None:
    ids = apart(lambda: [runs.trigger(t, 1).id for t in (plain, fails, waits) for _ in range(20)])
    page.goto(f"{live_server.url}/admin/executions/run/")
    picture(page, "list")
    page.get_by_text("Older", exact=True).click()
    expect(page.locator("#result_list tbody tr")).to_have_count(10)
    assert ids[0] in page.content()
    page.get_by_text("Newer", exact=True).click()
    expect(page.locator("#result_list")).to_contain_text(ids[-1])
    page.get_by_text("Filters", exact=False).first.click()
    page.select_option("select[name=task]", "admin.fails")
    page.fill("input[name=created_from]", "2026-01-01T00:00")
    picture(page, "filters")
    page.get_by_text("Apply Filters").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(20)
    page.locator("input.action-select").first.check()
    picture(page, "selected")


def test_the_other_pages(page: Page, live_server: Any) -> None:
    from executions import queues
    from executions.audit import Actor

    apart(queues.pause, "slow", reason="Too many at once.", actor=Actor("Bo"))
    for name in ("queue", "auditentry", "worker", "waittoken"):
        page.goto(f"{live_server.url}/admin/executions/{name}/")
        expect(page.locator("#content")).to_be_visible()
        picture(page, name)
    page.goto(f"{live_server.url}/admin/executions/queue/act/limit/?id=slow")
    expect(page.locator("#id_reason")).to_be_visible()
    picture(page, "limit")
