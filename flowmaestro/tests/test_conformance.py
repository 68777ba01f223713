"""Every operation of the API under generated requests: no 5xx, and answers as they are described.

With PROOFS=full there are many more of them.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.conf import settings
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from django.test.utils import override_settings
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as choose
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from executions.tests.people import person
from flowmaestro.openapi import document
from flowmaestro.tests.stock import Stock

EXAMPLES = 150 if os.environ.get("PROOFS") == "full" else 6
CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance,
    response_headers_conformance, response_schema_conformance,
]  # fmt: skip
API = schemathesis.openapi.from_dict(document())
OPERATIONS = [result.ok() for result in API.get_all_operations()]
APPLICATION = get_wsgi_application()


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """Lines of JSON are sent as they were generated."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def db(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """One transaction for all tests, each of which takes back what it did."""
    options = settings.FLOWMAESTRO
    no_limits: dict[str, Any] = {
        field.name: 0 for field in dataclasses.fields(options)
        if field.name.startswith("RATE_LIMIT_") and field.type == "int"
    }  # fmt: skip
    # Nothing runs here, so that nobody needs to wait for anything.
    changed = dataclasses.replace(options, WAITING_REQUESTS=0, **no_limits)
    ends = (signals.request_started, signals.request_finished)
    for signal in ends:
        signal.disconnect(close_old_connections)
    with (
        django_db_blocker.unblock(),
        override_settings(FLOWMAESTRO=changed),
        transaction.atomic(),
    ):
        yield
        transaction.set_rollback(True)
    for signal in ends:
        signal.connect(close_old_connections)


@pytest.fixture(scope="module")
def place(db: None) -> Stock:
    """Something of every kind, for an application on the tests' own connection."""
    return Stock(person("ada", is_staff=True), all_workspaces=True)


@pytest.fixture
def stock(place: Stock) -> Iterator[Stock]:
    """The same, as it was at first."""
    with transaction.atomic():
        yield place
        transaction.set_rollback(True)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_answer_is_as_it_is_described(operation: Any, stock: Stock) -> None:
    headers = {"Authorization": f"Bearer {stock.key}"}
    known = {name: st.sampled_from(values) for name, values in stock.values(operation.path).items()}

    def answer(case: Any) -> int:
        response = case.call(headers=headers, app=APPLICATION)
        case.validate_response(response, checks=CHECKS)
        return int(response.status_code)

    @choose(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(
        case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        found=st.fixed_dictionaries(known) | st.just({}),
    )
    def generated(case: Any, found: dict[str, Any]) -> None:
        case.path_parameters = {**(case.path_parameters or {}), **found}
        answer(case)

    good = stock.good(operation.method.upper(), operation.path)
    case = operation.Case(
        path_parameters=good.parameters, query=good.query,
        **({} if good.body is None else {"body": good.body, "media_type": good.content_type}),
    )  # fmt: skip
    assert answer(case) in range(200, 300)
    generated()
