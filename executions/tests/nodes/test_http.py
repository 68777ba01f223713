"""Tests of the http node against a server on this machine."""

from __future__ import annotations

import base64
import json

import pytest

from executions.nodes import BadConfig
from executions.outbound import OutboundFailed, OutboundRefused
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
