"""The handler of HTTP: its threads, their connections, what it hands to Django's own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import connection
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from flowmaestro import serving
from flowmaestro.serving import Handler

THREADS = 3
gate = threading.Event()
closed: list[str] = []


def backend(request):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return JsonResponse(
            {"pid": cursor.fetchone()[0], "thread": threading.current_thread().name}
        )


def slow(request):
    gate.wait(10)
    return backend(request)


async def waiting(request):
    await asyncio.sleep(0.2)
    pid = await sync_to_async(lambda: get_user_model().objects.count())()
    return JsonResponse({"count": pid})


@csrf_exempt
def echo(request):
    return HttpResponse(request.body, content_type="application/octet-stream")


def pieces(request):
    class Closing(StreamingHttpResponse):
        def close(self):
            closed.append(threading.current_thread().name)
            super().close()

    async def parts():
        for number in range(3):
            yield f"{number},".encode()

    return Closing(parts())


def file(request):
    return FileResponse(open(__file__, "rb"))


def broken(request):
    raise RuntimeError("the secret of the view")


urlpatterns = [
    path("backend", backend),
    path("slow", slow),
    path("waiting", waiting),
    path("echo", echo),
    path("pieces", pieces),
    path("file", file),
    path("broken", broken),
]
handler500 = "flowmaestro.failures.server_error"
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls(__name__),
    # Django says that a file is read at once, where the server is asynchronous.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]


@pytest.fixture
def handler(settings):
    """A handler with few threads, whose connections end with the test."""
    settings.ALLOWED_HOSTS = ["*"]
    gate.clear()
    made = Handler(THREADS)
    yield made
    gate.set()
    together = threading.Barrier(THREADS)

    def leave():
        together.wait(10)
        connection.close()

    for place in [made._threads.submit(leave) for _ in range(THREADS)]:
        place.result(10)
    made._threads.shutdown()


class Exchange:
    """One request to an ASGI application, and what came back."""

    def __init__(self, handler, path, *, body=b"", parts=(), method="GET", disconnect=False):
        self.scope = {
            "type": "http", "method": method, "path": path, "query_string": b"",
            "headers": [(b"host", b"x"), (b"content-length", str(len(body)).encode())],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        pieces = list(parts) or [body]
        self.messages = [
            {"type": "http.request", "body": piece, "more_body": number + 1 < len(pieces)}
            for number, piece in enumerate(pieces)
        ]
        if disconnect:
            self.messages = [{"type": "http.disconnect"}]
        self.handler = handler
        self.status = 0
        self.body = b""

    async def receive(self):
        if self.messages:
            return self.messages.pop(0)
        await asyncio.sleep(30)

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")

    async def run(self):
        await self.handler(self.scope, self.receive, self.send)
        return self


def ask(handler, *paths, **options):
    async def all_of_them():
        return await asyncio.gather(*(Exchange(handler, path, **options).run() for path in paths))

    return asyncio.run(all_of_them())


def json_of(exchange):
    assert exchange.status == 200, exchange.body
    return json.loads(exchange.body)


def others():
    """Connections to this database beside the test's own."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return {row[0] for row in cursor.fetchall()}


def test_a_thread_keeps_its_connection_from_request_to_request(handler):
    seen = [json_of(ask(handler, "/backend")[0]) for _ in range(20)]
    kept = {(found["thread"], found["pid"]) for found in seen}
    assert len(kept) == len(dict(kept)) <= THREADS
    assert all(name.startswith("web") for name, _ in kept)


def test_many_requests_take_no_more_connections_than_there_are_threads(handler):
    before = others()

    async def crowd():
        exchanges = [Exchange(handler, "/slow") for _ in range(60)]
        running = asyncio.gather(*(exchange.run() for exchange in exchanges))
        await asyncio.sleep(0.3)
        gate.set()
        return await running

    answers = [json_of(exchange) for exchange in asyncio.run(crowd())]
    assert len({found["pid"] for found in answers}) <= THREADS
    assert len(others() - before) <= THREADS


def test_connections_that_the_server_ended_cost_no_request(handler):
    for _ in range(5):
        before = {json_of(found)["pid"] for found in ask(handler, *["/backend"] * 10)}
        with connection.cursor() as cursor:
            for pid in others():
                cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        after = {json_of(found)["pid"] for found in ask(handler, *["/backend"] * 10)}
        assert not before & after


def test_a_connection_is_renewed_after_a_while(handler, monkeypatch):
    monkeypatch.setattr(serving, "CONNECTION_SECONDS", 0.05)
    first = {json_of(found)["pid"] for found in ask(handler, *["/backend"] * 10)}
    time.sleep(0.1)
    assert not first & {json_of(found)["pid"] for found in ask(handler, *["/backend"] * 10)}


def test_what_waits_holds_no_thread_and_leaves_no_connection(handler):
    before = others()
    begun = time.monotonic()
    answers = ask(handler, *["/waiting"] * 30)
    assert [json_of(found) for found in answers] == [{"count": 0}] * 30
    assert time.monotonic() - begun < 5
    deadline = time.monotonic() + 5
    while others() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not others() - before


@pytest.mark.parametrize("size", [0, 10, serving._SMALL_BODY + 1, 3_000_000])
def test_bodies_of_every_size_arrive_whole(handler, size):
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    parts = [body[at : at + 700_000] for at in range(0, size, 700_000)] or [b""]
    for sent in ([body], parts):
        (answer,) = ask(handler, "/echo", method="POST", body=body, parts=sent)
        assert answer.body == body


def test_streams_and_files_are_sent_whole_and_closed_on_a_thread(handler):
    closed.clear()
    (stream,) = ask(handler, "/pieces")
    assert stream.body == b"0,1,2,"
    assert len(closed) == 1 and closed[0].startswith("web")
    (file_,) = ask(handler, "/file")
    assert file_.body == Path(__file__).read_bytes()


def test_who_goes_before_the_body_has_come_is_forgotten(handler):
    (gone,) = ask(handler, "/echo", disconnect=True)
    assert (gone.status, gone.body) == (0, b"")


def test_a_view_that_fails_says_nothing_of_it(handler):
    (answer,) = ask(handler, "/broken")
    assert answer.status == 500
    assert b"secret" not in answer.body and b"Traceback" not in answer.body


def test_an_address_that_is_no_text_is_refused(handler):
    exchange = Exchange(handler, "/backend")
    exchange.scope["query_string"] = b"\xff\xfe"
    asyncio.run(exchange.run())
    assert exchange.status == 400
