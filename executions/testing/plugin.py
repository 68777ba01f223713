"""The pytest plugin: `pytest_plugins = ["executions.testing.plugin"]` in your conftest.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from executions.testing.kit import Engine


@pytest.fixture
def engine(transactional_db: None) -> Iterator[Engine]:
    """The real engine on the test database, with a clock that only the test moves."""
    # Here and not above: pytest may load plugins before Django is set up.
    from executions.testing.kit import Engine

    with Engine() as started:
        yield started
