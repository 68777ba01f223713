"""What the tests of the management API share."""

from __future__ import annotations

import pytest

from executions.registry import task
from executions.tests.management.callers import Caller


@task("managed.echo", queue="managed")
async def echo(payload, ctx):
    """Gives back what it was given."""
    return payload


@task("managed.fail")
async def fail(payload, ctx):
    """Ends badly, at once."""
    raise ValueError("no luck")


@task("managed.numbers")
async def numbers(payload: dict, ctx):
    """Takes steps."""
    return await ctx.step("add", sum, payload["of"])


@pytest.fixture
def ada(transactional_db: None) -> Caller:
    """A caller without special rights."""
    return Caller("ada")


@pytest.fixture
def bo(transactional_db: None) -> Caller:
    """Another one, in a workspace of their own."""
    return Caller("bo")


@pytest.fixture
def staff(transactional_db: None) -> Caller:
    """A member of the staff, with a key for all workspaces."""
    return Caller("boss", is_staff=True)
