"""The pages in a real browser: start, watch, answer, through an outage of the server."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from playwright.sync_api import Page, Route, expect, sync_playwright

from executions import runs, workflow_runs
from executions.registry import task
from executions.tests.bodies import ONCE
from executions.tests.flows import flow
from executions.tests.people import person

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--headless"]
PATIENCE_MS = 15_000
MARKUP = "<img src=x onerror=document.title='taken'>"

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"There is no {CHROMIUM}.")


@task("browser.plain", retry=ONCE)
async def plain(payload: Any, ctx: Any) -> None:
    """A task that is no workflow, and fails."""
    await ctx.step("look", lambda: payload)
    raise KeyError("order")


@pytest.fixture
def site(live_server: Any, settings: Any) -> str:
    """The address of a server whose own address workflows may call."""
    settings.PUBLIC_URL = live_server.url
    settings.FLOWMAESTRO = dataclasses.replace(
        settings.FLOWMAESTRO, OUTBOUND_ALLOW_PRIVATE=(urlsplit(live_server.url).netloc,)
    )
    return str(live_server.url)


@pytest.fixture
def page(site: str) -> Iterator[Page]:
    """A page that has just logged in; an error of its script fails the test."""
    person("ada", is_staff=True)
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(site)
        page.fill("#id_username", "ada")
        page.fill("#id_password", "a good password")
        page.click("button[type=submit]")
        page.wait_for_url(f"{site}/")
        yield page
        browser.close()
    assert errors == []


def apart(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Calls it on a thread of its own: Playwright keeps a loop on this one, so no queries here."""

    def call() -> Any:
        try:
            return function(*args, **options)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


def shows(page: Page, selector: str, text: str) -> None:
    """Waits until an element holds exactly this text."""
    expect(page.locator(selector)).to_have_text(text, timeout=PATIENCE_MS)


def test_an_example_is_started_watched_answered_and_ends(executor: Any, page: Page) -> None:
    page.click("#check-and-approve button")
    page.wait_for_url("**/runs/run_*/")
    shows(page, "[data-node=health] [data-part=status]", "completed")
    shows(page, "[data-node=review] [data-part=status]", "waiting")
    shows(page, "[data-node=accepted] [data-part=status]", "pending")

    page.fill(".review [name=response]", "perhaps")
    page.click(".review button")
    shows(page, ".review [data-part=error]", "The answer does not have the form ^(yes|no)$.")
    page.fill(".review [name=response]", "yes")
    page.click(".review button")

    shows(page, "#status", "completed")
    shows(page, "[data-node=accepted] [data-part=status]", "completed")
    shows(page, "[data-node=rejected] [data-part=status]", "skipped")
    expect(page.locator("#result")).to_contain_text('"verdict": "accepted"')
    expect(page.locator(".review")).to_have_count(0)
    expect(page.locator("#cancel")).to_be_hidden()


def test_a_page_follows_by_itself_and_shows_payloads_as_text(executors: Any, page: Page) -> None:
    definition = flow(
        {
            "i": ("input", {"inputName": "x"}),
            "ask": ("humanReview", {"prompt": "{{x}}", "description": MARKUP}),
            "end": ("output", {"outputName": "out", "value": "{{x}} {{userResponse}}"}),
        },
        "i>ask",
        "ask>end",
    )
    run = apart(workflow_runs.start, definition, inputs={"x": MARKUP})
    base = page.url
    page.goto(f"{base}runs/{run.id}/")
    shows(page, "#status", "queued")
    page.evaluate("document.body.dataset.same = 'yes'")

    apart(executors)
    shows(page, ".review [data-part=prompt]", MARKUP)
    shows(page, "[data-node=i] [data-part=status]", "completed")
    page.fill(".review [name=response]", "typing")

    lost = page.locator("#connection")
    page.route("**/api/**", lambda route: _fail(route))
    expect(lost).to_have_text("No connection to the server; trying again …", timeout=PATIENCE_MS)
    page.unroute("**/api/**")
    expect(lost).to_be_hidden(timeout=PATIENCE_MS)
    assert page.input_value(".review [name=response]") == "typing"
    assert page.evaluate("document.body.dataset.same") == "yes"

    page.click(".review button")
    shows(page, "#status", "completed")
    expect(page.locator("#result")).to_contain_text(f"{MARKUP} typing")
    assert page.locator("main img").count() == 0
    assert page.title() != "taken"


def _fail(route: Route) -> None:
    route.abort()


def test_a_plain_task_is_followed_by_its_steps(executors: Any, page: Page) -> None:
    run = apart(runs.trigger, plain, {})
    page.goto(f"{page.url}runs/{run.id}/")
    shows(page, "#status", "queued")
    expect(page.locator("#journal")).to_be_hidden()
    apart(executors)
    shows(page, "#status", "failed")
    shows(page, "#steps [data-part=name]", "look")
    shows(page, "#steps [data-part=facts]", "step · 1 attempt")
    shows(page, "#failure [data-part=error]", "KeyError: 'order'")
    expect(page.locator("#workflow")).to_be_hidden()


def test_what_a_node_warns_of_appears_under_it(executors: Any, page: Page) -> None:
    config = {"inputName": "x", "required": True}
    run = apart(workflow_runs.start, flow({"i": ("input", config)}))
    page.goto(f"{page.url}runs/{run.id}/")
    shows(page, "#status", "queued")
    apart(executors)
    shows(page, "[data-node=i] [data-part=warnings]", "The input 'x' was not given; it is null.")


def test_a_page_stops_asking_once_the_run_has_ended(executor: Any, page: Page) -> None:
    run = apart(workflow_runs.start, flow({"ask": ("humanReview", {"prompt": "Well?"})}))
    asked: list[str] = []
    page.goto(f"{page.url}runs/{run.id}/")
    shows(page, ".review [data-part=prompt]", "Well?")
    page.click("#cancel button")
    shows(page, "#status", "canceled")
    expect(page.locator("#run")).to_have_attribute("data-final", "true", timeout=PATIENCE_MS)
    page.on("request", lambda request: asked.append(request.url))
    # Twice the pause between two looks.
    page.wait_for_timeout(1_000)
    assert asked == []
