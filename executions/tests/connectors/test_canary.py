"""A secret that everybody repeats, and a look for it in all that the run leaves behind."""

from __future__ import annotations

import base64
import io
import json
import logging
from dataclasses import replace

import pytest
from django.db import connection

from executions import api_descriptions, connections, runs
from executions.masking import MASK, SecretFilter
from executions.orchestrator import orchestrator
from executions.tests.conftest import until_status
from executions.tests.connectors.pet_api import DOCUMENT, PetApi
from executions.tests.connectors.relay import database_port
from executions.tests.flows import flow

CANARY = 'canary-7f3e"9a/ü+4711'
HEX = CANARY.encode().hex()
SPELLINGS = (
    CANARY, json.dumps(CANARY)[1:-1], HEX, base64.b64encode(CANARY.encode()).decode(),
    base64.b64encode(f"ada:{CANARY}".encode()).decode(), CANARY.encode().decode("latin-1"),
    "canary-7f3e",
)  # fmt: skip
ASCII = "canary-7f3e-9a-4711"


@pytest.fixture
def logged():
    """All log lines of the process, as a handler of the settings writes them."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(SecretFilter())
    root = logging.getLogger()
    names = ("httpcore", "httpx", "asyncio", "psycopg", "executions")
    levels = {name: logging.getLogger(name).level for name in names}
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def api(settings, transactional_db):
    running = PetApi()
    with database_port() as port:
        allowed = (f"127.0.0.1:{running.server_port}", f"127.0.0.1:{port}")
        settings.FLOWMAESTRO = replace(settings.FLOWMAESTRO, OUTBOUND_ALLOW_PRIVATE=allowed)
        api_descriptions.register("pets", json.dumps(DOCUMENT), base_url=running.url)
        where = connection.settings_dict
        connections.create(
            "db", "postgresql",
            fields={"host": "127.0.0.1", "port": port, "database": where["NAME"],
                    "user": where["USER"]},
            secrets={"password": CANARY},
        )  # fmt: skip
        yield running
    running.close()


def everything_stored():
    """Every row of every table, bytes as hexadecimal."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        tables = [row[0] for row in cursor.fetchall()]
        texts = []
        for table in tables:
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            texts += [row[0] for row in cursor.fetchall()]
    return "\n".join(texts)


def test_a_secret_that_every_side_repeats_is_stored_and_logged_nowhere(api, executor, logged):
    connections.create("basic", "http", fields={"username": "ada"}, secrets={"password": CANARY})
    connections.create("bearer", "http", secrets={"token": ASCII})
    connections.create("key", "http", fields={"in": "query"}, secrets={"apiKey": CANARY})
    connections.create("pets", "pets", secrets={"apiKey": ASCII})
    echo = {"url": f"{api.url}/form", "method": "POST", "retry": 1}
    nodes = {
        "basic": ("http", {**echo, "connection": "basic"}),
        "bearer": ("http", {**echo, "connectionId": "bearer"}),
        "key": ("http", {**echo, "connection": "key"}),
        "pets": ("integration", {"provider": "pets", "operation": "sendForm", "retry": 1}),
        "refused": ("integration", {"provider": "pets", "operation": "refuse", "retry": 1}),
        "row": ("database", {"query": f"SELECT reverse('{CANARY[::-1]}') AS echo", "retry": 1}),
        "bad": ("database", {"query": f"SELECT reverse('{CANARY[::-1]}')::int", "retry": 1}),
        "out": ("output", {"outputName": "r", "value": "{{basic}} {{row}}"}),
    }  # fmt: skip
    run_id = orchestrator.trigger({"workflowDefinition": flow(nodes, "basic>out", "row>out")}).id
    run = until_status(run_id, "COMPLETED", "FAILED", seconds=30)
    found = run.output["nodes"]
    assert {name: entry["status"] for name, entry in found.items()} == {
        "basic": "completed", "bearer": "completed", "key": "completed", "pets": "completed",
        "row": "completed", "out": "completed", "refused": "failed", "bad": "failed",
    }, run.output  # fmt: skip
    # They did reach the other side, and came back.
    sent = json.dumps(api.seen, ensure_ascii=False)
    for spelling in (CANARY.replace('"', '\\"'), ASCII, SPELLINGS[4]):
        assert spelling in sent
    assert found["bearer"]["output"]["data"]["headers"]["authorization"] == f"Bearer {MASK}"
    assert found["row"]["output"]["data"]["rows"] == [{"echo": MASK}]
    assert MASK in found["refused"]["error"]["message"]
    assert MASK in found["bad"]["error"]["message"]
    assert MASK in run.output["outputs"]["r"]
    events = json.dumps([event.data for event in runs.events(run_id)], ensure_ascii=False)
    for place in (everything_stored(), logged.getvalue(), events, json.dumps(run.output)):
        assert place
        for spelling in (*SPELLINGS, ASCII):
            assert spelling not in place, spelling
    assert "Traceback" in everything_stored()
