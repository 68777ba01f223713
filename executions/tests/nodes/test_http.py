"""Tests of the http node against a server on this machine."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from executions.nodes import BadConfig
from executions.outbound import OutboundFailed, OutboundRefused, OutboundResponse
from executions.outbound.answers import retry_after
from executions.outbound.bodies import BadBody
from executions.tests.flows import flow, run
from executions.tests.nodes.calls import output
from executions.tests.web import Server


@pytest.fixture
def server(settings):
    settings.FLOWMAESTRO = {"OUTBOUND_ALLOW_PRIVATE": ("127.0.0.1",)}
    running = Server()
    yield running
    running.close()


def test_a_get_gives_status_headers_and_data(server):
    config = {"url": "{{base}}/x", "queryParams": {"q": "{{n}}"}, "outputVariable": "answer"}
    found = output("http", config, base=server.url(""), n=3)["answer"]
    assert (found["status"], found["statusText"], found["data"]) == (200, "OK", {"ok": True})
    assert found["headers"]["content-type"] == "application/json"
    assert found["responseTime"] >= 0
    assert server.seen[0]["path"] == "/x?q=3"


def test_an_error_status_is_a_result(server):
    assert output("http", {"url": server.url("/404")})["status"] == 404


@pytest.mark.parametrize(
    ("config", "kind", "body"),
    [
        ({"body": '{"name": "{{name}}"}'}, "application/json", {"name": 'A "B"'}),
        ({"body": {"n": "{{n}}"}}, "application/json", {"n": 3}),
        ({"bodyType": "form", "body": {"a": "x y", "n": "{{n}}"}},
         "application/x-www-form-urlencoded", "a=x+y&n=3"),
        ({"bodyType": "form", "body": '{"a": "{{n}}"}'},
         "application/x-www-form-urlencoded", "a=3"),
        ({"bodyType": "raw", "body": "n is {{n}}"}, None, "n is 3"),
    ],
)  # fmt: skip
def test_bodies_are_sent_as_asked(config, kind, body, server):
    output("http", {"method": "post", "url": server.url(), **config}, n=3, name='A "B"')
    (seen,) = server.seen
    assert seen["method"] == "POST"
    assert seen["headers"].get("content-type") == kind
    sent = json.loads(seen["body"]) if kind == "application/json" else seen["body"]
    assert sent == body


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"authType": "bearer", "authCredentials": "{{key}}"}, "authorization", "Bearer k1"),
        ({"authType": "apiKey", "authCredentials": "k2"}, "x-api-key", "k2"),
        ({"authType": "basic", "authCredentials": "me:pw"}, "authorization",
         "Basic " + base64.b64encode(b"me:pw").decode()),
        ({"authType": "basic", "authCredentials": {"username": "me", "password": "pw"}},
         "authorization", "Basic " + base64.b64encode(b"me:pw").decode()),
    ],
)  # fmt: skip
def test_logins_become_headers(auth, header, value, server):
    output("http", {"url": server.url(), **auth}, key="k1")
    assert server.seen[0]["headers"][header] == value


def test_headers_of_both_shapes_are_sent(server):
    output("http", {"url": server.url(), "headers": [{"key": "X-A", "value": "{{n}}"}]}, n=3)
    output("http", {"url": server.url(), "headers": {"X-A": "4"}})
    assert [seen["headers"]["x-a"] for seen in server.seen] == ["3", "4"]


def test_a_body_that_is_not_json_is_refused_before_anything_is_sent(server):
    with pytest.raises(BadConfig, match="not JSON"):
        output("http", {"method": "POST", "url": server.url(), "body": "{broken"})
    assert server.seen == []


def test_an_address_with_an_unknown_name_is_refused(server):
    with pytest.raises(BadConfig, match="unknown name"):
        output("http", {"url": "{{nowhere}}/x"})


def test_a_private_address_is_refused(settings):
    settings.FLOWMAESTRO = {"OUTBOUND_ALLOW_PRIVATE": ()}
    with pytest.raises(OutboundRefused):
        output("http", {"url": "http://169.254.169.254/latest/meta-data"})


def test_network_errors_are_tried_again_within_one_budget(server, monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr("executions.nodes.http.asyncio.sleep", sleep)
    server.http.release.set()
    port = server.http.server_port
    server.close()
    with pytest.raises(OutboundFailed):
        output("http", {"url": f"http://127.0.0.1:{port}/", "retryCount": 3})
    assert waits == [1.0, 2.0, 4.0]


@pytest.fixture
def waits(monkeypatch):
    """The pauses between attempts, which take no time."""
    noted = []

    async def sleep(seconds):
        noted.append(seconds)

    monkeypatch.setattr("executions.nodes.http.asyncio.sleep", sleep)
    return noted


def test_a_status_that_passes_is_tried_again_when_there_are_retries(server, waits):
    assert output("http", {"url": server.url("/busy/2"), "retryCount": 3})["status"] == 200
    assert len(server.seen) == 3
    assert waits == [1.0, 2.0]


def test_without_retries_it_is_a_result(server, waits):
    assert output("http", {"url": server.url("/busy/2")})["status"] == 503
    assert len(server.seen) == 1
    config = {"url": server.url("/404"), "retryCount": 2}
    assert output("http", config)["status"] == 404
    assert waits == []


def test_the_last_answer_is_the_result_when_all_attempts_are_used(server, waits):
    config = {"url": server.url("/busy/9"), "retryCount": 1}
    assert output("http", config)["status"] == 503
    assert len(server.seen) == 2


def test_the_statuses_are_the_authors_choice(server, waits):
    config = {"url": server.url("/404"), "retryCount": 2, "retryStatuses": [404]}
    assert output("http", config)["status"] == 404
    assert len(server.seen) == 3


def test_the_server_says_when_to_come_again_within_the_time_there_is(server, waits):
    server.http.retry_after = "7"
    config = {"url": server.url("/busy/1"), "retryCount": 2}
    assert output("http", config)["status"] == 200
    assert waits == [7.0]
    config = {"url": server.url("/busy/9"), "retryCount": 2, "timeout": 5}
    assert output("http", config)["status"] == 503
    assert waits == [7.0]


@pytest.mark.parametrize("kind", ["multipart", "form-data", "multipart/form-data"])
def test_forms_carry_files(kind, server):
    config = {"method": "POST", "url": server.url(), "bodyType": kind, "body": {
        "note": "{{note}}",
        "file": {"filename": "a.bin", "content": base64.b64encode(b"\x00x").decode(),
                 "encoding": "base64"},
    }}  # fmt: skip
    output("http", config, note='say "hi"\r\n--x')
    (seen,) = server.seen
    boundary = seen["headers"]["content-type"].partition("boundary=")[2]
    parts = seen["body"].split(f"--{boundary}")
    assert parts[1] == (
        '\r\nContent-Disposition: form-data; name="note"\r\n\r\nsay "hi"\r\n--x\r\n'
    )
    assert 'filename="a.bin"\r\nContent-Type: application/octet-stream' in parts[2]
    assert "\r\n\r\n\x00x\r\n" in parts[2]
    assert parts[3] == "--\r\n"


def test_a_name_in_a_form_cannot_begin_a_header(server):
    body = {'a"\r\nX-Evil: 1': "x"}
    output("http", {"method": "POST", "url": server.url(), "bodyType": "multipart", "body": body})
    assert 'name="a%22%0D%0AX-Evil: 1"' in server.seen[0]["body"]


def test_binary_content_is_sent_from_base64(server):
    body = base64.b64encode(b"raw bytes").decode()
    output("http", {"method": "PUT", "url": server.url(), "bodyType": "binary", "body": body})
    assert server.seen[0]["body"] == "raw bytes"
    with pytest.raises(BadBody):
        output("http", {"method": "PUT", "url": server.url(), "bodyType": "binary", "body": "ü"})


def test_a_key_may_go_into_the_query(server):
    login = {"authType": "apiKey", "authCredentials": {"in": "query", "name": "k", "key": "v1"}}
    output("http", {"url": server.url("/x"), **login})
    assert server.seen[0]["path"] == "/x?k=v1"


def test_a_key_in_a_header_of_its_own_does_not_follow_to_another_site(server):
    other = Server()
    try:
        server.http.target = other.url("/landing")
        login = {"authType": "apiKey", "authCredentials": {"header": "X-Own", "key": "v1"}}
        assert output("http", {"url": server.url("/to/302"), **login})["status"] == 200
        assert server.seen[0]["headers"]["x-own"] == "v1"
        assert "x-own" not in other.seen[0]["headers"]
    finally:
        other.close()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("", None), ("soon", None), ("inf", None),
        ("Sun, 01 Mar 2026 12:00:09 GMT", 9.0), ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(text, seconds):
    response = OutboundResponse(
        status=503, reason="", headers=(("Retry-After", text),), body=b"", url="", seconds=0
    )
    assert retry_after(response, now=datetime(2026, 3, 1, 12, tzinfo=UTC)) == seconds


@pytest.mark.django_db(transaction=True)
def test_what_a_login_takes_from_the_environment_is_hidden_and_what_a_definition_says_is_not(
    server, settings, monkeypatch
):
    settings.FLOWMAESTRO = {
        "OUTBOUND_ALLOW_PRIVATE": ("127.0.0.1",), "TEMPLATE_ENV": ("SOME_KEY", "SOME_PLACE"),
    }  # fmt: skip
    monkeypatch.setenv("SOME_KEY", "env-key-4711")
    monkeypatch.setenv("SOME_PLACE", "Berlin")
    definition = flow(
        {
            "a": ("http", {"url": server.url("/{{env.SOME_PLACE}}"),
                           "headers": {"Authorization": "Bearer {{env.SOME_KEY}}"}}),
            "r": ("output", {"outputName": "r", "value": "{{env.SOME_PLACE}} {{env.SOME_KEY}}"}),
        },
        "a>r",
    )  # fmt: skip
    result = run(definition)
    assert server.seen[0]["headers"]["authorization"] == "Bearer env-key-4711"
    # A definition that prints a variable outside of a login means to.
    assert result["outputs"] == {"r": "Berlin env-key-4711"}
