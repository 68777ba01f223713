"""The admin as tests use it: people of each role, addresses, a task with every kind of step."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from executions.registry import task
from executions.roles import ensure_groups
from executions.tests.bodies import AT_ONCE, ONCE
from executions.tests.people import person

LIST = "/admin/executions/run/"
HOSTILE = "</pre><script>alert(1)</script>{{ 7*7 }}\"'><img src=x onerror=alert(2)>"
SHOWN = "&lt;script&gt;alert(1)&lt;/script&gt;"


def page_of(pk: Any, model: str = "run") -> str:
    """The address of a row in the admin."""
    return reverse(f"admin:executions_{model}_change", args=[quote(pk)])


def list_of(model: str) -> str:
    """The address of a list."""
    return f"/admin/executions/{model}/"


def act_url(name: str, *keys: Any, model: str = "run", **more: str) -> str:
    """Where something is done to rows."""
    query = [*(("id", str(key)) for key in keys), *more.items()]
    return f"/admin/executions/{model}/act/{name}/?{urlencode(query)}"


def text_of(answer: Any) -> str:
    """A page that was served."""
    assert answer.status_code == 200
    text: str = answer.content.decode()
    return text


def member(role: str | None, **more: Any) -> Client:
    """A browser in which somebody of a role is logged in; None: staff without a role."""
    ensure_groups()
    user = person(f"ms-{role}", is_staff=True, **more)
    if role is not None:
        user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def do(client: Client, name: str, *keys: Any, model: str = "run", **data: str) -> Any:
    """Confirms an act; the page that follows it."""
    url = act_url(name, *keys, model=model)
    return client.post(url, {"reason": "Because.", **data}, follow=True)


@task("admin.plain", retry=ONCE)
async def plain(payload: Any, ctx: Any) -> Any:
    """Three steps, one after another."""
    first = await ctx.step("first", lambda: {"n": 1})
    second = await ctx.step("second", lambda: {"n": first["n"] + 1})
    await ctx.step("third", lambda: None)
    return {"sum": first["n"] + second["n"]}


@task("admin.waits", retry=ONCE)
async def waits(payload: Any, ctx: Any) -> Any:
    """Waits for a token."""
    ctx.expose("phase", "asking")
    token = await ctx.create_token("approval", timeout="1h")
    answer = await ctx.wait_for_token(token)
    return answer.output


@task("admin.fails", retry=ONCE)
async def fails(payload: Any, ctx: Any) -> None:
    """A step that fails three times."""

    def break_down() -> None:
        raise ValueError(str(payload))

    await ctx.step("break", break_down, retry=AT_ONCE)
