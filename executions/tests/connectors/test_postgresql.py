"""database nodes against a real PostgreSQL, over TCP."""

from __future__ import annotations

import pytest
from django.db import connection

from executions import connections, masking
from executions.connectors import CallFailed, CallRefused, ConnectorMissing, OperationMissing
from executions.errors import Conflict
from executions.nodes import BadConfig
from executions.outbound import OutboundFailed, OutboundRefused
from executions.rules.sql_text import BadSql
from executions.tests.connectors.relay import database_port
from executions.tests.nodes.calls import output

pytestmark = pytest.mark.django_db(transaction=True)

ROBERT = "Robert'); DROP TABLE pets;--"


@pytest.fixture
def port(settings):
    with database_port() as number:
        settings.FLOWMAESTRO = {"OUTBOUND_ALLOW_PRIVATE": (f"127.0.0.1:{number}",)}
        yield number


@pytest.fixture
def pets(port):
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pets")
        cursor.execute(
            "CREATE TABLE pets (id serial PRIMARY KEY, name text NOT NULL UNIQUE, age int, "
            "tags text[], info jsonb, born date DEFAULT '2020-01-02')"
        )
        cursor.execute("INSERT INTO pets (name, age) VALUES ('Rex', 3), ('Tom', 5)")
    add(port)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pets")


def add(port, name="db", **fields):
    where = connection.settings_dict
    given = {"host": "127.0.0.1", "port": port, "database": where["NAME"], "user": where["USER"]}
    connections.create(
        name, "postgresql", fields={**given, **fields}, secrets={"password": "hunter22"}
    )


def run(config, kind="database", **inputs):
    with masking.hiding():
        return output(kind, config, **inputs)


def names():
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pets ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.parametrize(
    "config",
    [
        {"query": "SELECT name FROM pets WHERE age > {{n}}"},
        {"query": "SELECT name FROM pets WHERE age > $1", "parameters": [4]},
        {"query": "SELECT name FROM pets WHERE age > :n", "parameters": {"n": "{{n}}"}},
        {"query": "SELECT name FROM pets WHERE age > %s", "parameters": ["4"]},
        {"operation": "select", "query": "SELECT name FROM pets WHERE age > '{{n}}'"},
        {"provider": "postgres", "operation": "query", "connectionId": "db",
         "parameters": {"query": "SELECT name FROM pets WHERE age > $1", "parameters": [4]}},
        {"operation": "select", "table": "pets", "columns": ["name"], "where": {"age": {">": 4}}},
        {"operation": "select", "table": "public.pets", "columns": "name",
         "where": {"name": ["Tom", "Tim"]}, "orderBy": "name desc", "limit": "{{n}}"},
    ],
)  # fmt: skip
def test_every_dialect_reads_rows(pets, config):
    found = run({**config, "outputVariable": "found"}, n=4)["found"]
    assert found == {"result": [{"name": "Tom"}], "rows": [{"name": "Tom"}], "rowCount": 1}


def test_an_integration_node_reaches_a_database_too(pets):
    config = {
        "provider": "postgresql",
        "operation": "query",
        "query": "SELECT count(*) AS n FROM pets",
    }
    assert run(config, kind="integration")["data"]["rows"] == [{"n": 2}]


@pytest.mark.parametrize(("kind", "result"), [("single", {"name": "Rex"}), ("count", 2)])
def test_a_result_may_be_one_row_or_a_count(pets, kind, result):
    config = {"query": "SELECT name FROM pets ORDER BY id", "returnFormat": kind}
    assert run(config)["data"]["result"] == result


def test_rows_are_inserted_changed_and_removed(pets):
    many = {"operation": "insert", "table": "pets", "returning": ["id", "born"], "data": [
        {"name": "{{name}}", "tags": ["a", 'b"c'], "info": {"x": [1]}}, {"name": "Kim", "age": 1},
    ]}  # fmt: skip
    found = run(many, name=ROBERT)["data"]
    assert found["inserted"] == 2
    assert found["returning"][0] == {"id": 3, "born": "2020-01-02"}
    assert names() == ["Rex", "Tom", ROBERT, "Kim"]
    rows = run({"query": "SELECT tags, info FROM pets WHERE id = 3"})["data"]["rows"]
    assert rows == [{"tags": ["a", 'b"c'], "info": {"x": [1]}}]
    changed = {"operation": "update", "table": "pets", "data": {"age": 9, "name": "Max"}}
    where = {"where": "name = $1 OR name = {{name}}", "whereParameters": ["Kim"]}
    with pytest.raises(CallRefused, match="duplicate key"):
        run({**changed, **where}, name="Rex")
    assert names() == ["Rex", "Tom", ROBERT, "Kim"]
    assert run({**changed, **where}, name="nobody")["data"] == {"updated": 1, "rowCount": 1}
    gone = {"operation": "delete", "table": "pets", "where": {"name": "Max", "age": 9}}
    assert run(gone)["data"]["deleted"] == 1
    done = run({"operation": "execute", "query": "UPDATE pets SET age = age + 1"})["data"]
    assert done == {"rowCount": 3}


@pytest.mark.parametrize("operation", ["update", "delete"])
def test_a_change_without_a_condition_is_refused(pets, operation):
    with pytest.raises(CallRefused, match="every row"):
        run({"operation": operation, "table": "pets", "data": {"age": 1}})


def test_values_become_json(pets):
    text = """SELECT 1::bigint AS small, 9007199254740993::bigint AS large, 1.50::numeric AS money,
        0.1234567890123456789::numeric AS exact, 'NaN'::float8 AS none, 'infinity'::date AS ever,
        '2020-02-03'::date AS day, '2020-02-03 04:05:06.5'::timestamp AS moment,
        '2020-02-03 04:05:06+02'::timestamptz AS zoned, '1 day 2 hours'::interval AS span,
        '0123'::bytea AS raw, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS id,
        '{"a": [1, null]}'::jsonb AS json, ARRAY['2020-01-01'::date] AS days, NULL AS nothing,
        true AS yes, '10.0.0.1'::inet AS net, '[1,3)'::int4range AS range"""
    (row,) = run({"query": text})["data"]["rows"]
    assert row == {
        "small": 1, "large": "9007199254740993", "money": 1.5, "exact": "0.1234567890123456789",
        "none": "nan", "ever": "infinity", "day": "2020-02-03", "moment": "2020-02-03T04:05:06.5",
        "zoned": "2020-02-03T02:05:06+00:00", "span": "P1DT2H", "raw": "MDEyMw==",
        "id": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "json": {"a": [1, None]},
        "days": ["2020-01-01"], "nothing": None, "yes": True, "net": "10.0.0.1", "range": "[1, 3)",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO pets (name) VALUES ('x') RETURNING id",
        "SET TRANSACTION READ WRITE",
        "DO $$ BEGIN SET LOCAL transaction_read_only = off; DELETE FROM pets; END $$",
        "DO $$ BEGIN PERFORM set_config('transaction_read_only', 'off', true); "
        "DELETE FROM pets; END $$",
        "WITH x AS (DELETE FROM pets RETURNING 1) SELECT * FROM x",
        "COMMIT",
        "DO $$ BEGIN COMMIT; DELETE FROM pets; END $$",
    ],
)
def test_a_connection_for_reading_changes_nothing(pets, port, text):
    add(port, "reader", readOnly=True)
    try:
        run({"query": text, "connection": "reader"})
    except CallRefused:
        pass
    assert names() == ["Rex", "Tom"]


def test_one_node_runs_one_statement(pets):
    with pytest.raises(BadSql, match="more than one"):
        run({"query": "SELECT 1; DELETE FROM pets"})
    with pytest.raises((BadSql, CallRefused)):
        run({"query": "{{sql}}"}, sql="UPDATE pets SET age = 1; DELETE FROM pets")
    assert names() == ["Rex", "Tom"]


def test_more_rows_than_allowed_are_refused_but_for_a_limit(pets):
    text = "SELECT generate_series(1, 3000000) AS n"
    with pytest.raises(CallRefused, match=r"more than 1,000 rows"):
        run({"query": text})
    found = run({"query": text, "limit": 5})
    assert (found["data"]["rowCount"], found["truncated"]) == (5, True)
    with pytest.raises(CallRefused, match="characters"):
        run({"query": "SELECT repeat('x', 300000) FROM generate_series(1, 900)"})


def test_a_statement_has_only_its_time(pets):
    with pytest.raises(CallFailed, match="57014"):
        run({"query": "SELECT pg_sleep(20)", "timeoutSeconds": 0.2})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM nowhere", "does not exist"),
        ("SELECT 1/0", "zero"),
    ],
)
def test_an_error_of_the_statement_is_told_in_its_words_and_not_tried_again(pets, text, said):
    with pytest.raises(CallRefused, match=said) as caught:
        run({"query": text})
    assert caught.value.non_retryable


def test_a_failure_may_be_data(pets):
    found = run({"query": "SELECT 1/0", "errorAsData": True, "outputVariable": "x"})
    assert found["x"] is None
    assert "division by zero" in found["databaseError"]


def test_private_addresses_need_to_be_allowed(pets, settings):
    settings.FLOWMAESTRO = {"OUTBOUND_ALLOW_PRIVATE": ()}
    with pytest.raises(OutboundRefused, match="private address"):
        run({"query": "SELECT 1"})


@pytest.mark.parametrize("host", ["", "/tmp", "@abstract", "127.0.0.1,127.0.0.1", "0x7f000001"])
def test_no_other_way_leads_to_this_machine(pets, port, host):
    add(port, "odd", host=host)
    with pytest.raises((CallRefused, OutboundRefused)):
        run({"query": "SELECT 1", "connection": "odd"})


def test_tls_is_not_given_up_where_it_is_asked_for(pets, port):
    add(port, "safe", sslmode="require")
    with pytest.raises((CallRefused, CallFailed), match="SSL"):
        run({"query": "SELECT 1", "connection": "safe"})


def test_a_server_that_does_not_answer_is_tried_again(pets, settings):
    settings.FLOWMAESTRO = {"OUTBOUND_ALLOW_PRIVATE": ("127.0.0.1",)}
    add(9, "gone")
    with pytest.raises((CallFailed, OutboundFailed)) as caught:
        run({"query": "SELECT 1", "connection": "gone"})
    assert not getattr(caught.value, "non_retryable", False)


def test_what_is_missing_is_named(pets, port):
    with pytest.raises(ConnectorMissing, match=r"'mysql'.*register_api mysql FILE"):
        run({"provider": "mysql", "operation": "query", "query": "SELECT 1"})
    with pytest.raises(OperationMissing, match=r"'selct'.*select"):
        run({"operation": "selct"})
    add(port, "second")
    with pytest.raises(Conflict, match="name one"):
        run({"query": "SELECT 1"})
    connections.create("web", "http", secrets={"token": "abcdef"})
    with pytest.raises(BadConfig, match="'http'"):
        run({"query": "SELECT 1", "connection": "web"})


def test_without_a_connection_the_error_says_how_to_add_one(port):
    with pytest.raises(CallRefused, match=r"manage\.py add_connection"):
        run({"query": "SELECT 1"})
