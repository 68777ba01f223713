"""A small API of pets, with its OpenAPI document, on this machine."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PETS = {1: {"id": 1, "name": "Rex"}, 2: {"id": 2, "name": "Tom"}}

DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "/v1"}],
    "security": [{"key": []}],
    "paths": {
        "/pets": {
            "get": {
                "operationId": "listPets",
                "summary": "List pets",
                "parameters": [
                    {"name": "limit", "in": "query",
                     "schema": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}},
                    {"name": "tags", "in": "query",
                     "schema": {"type": "array", "items": {"type": "string"}}},
                    {"name": "ids", "in": "query", "explode": False,
                     "schema": {"type": "array", "items": {"type": "integer"}}},
                    {"name": "filter", "in": "query", "style": "deepObject",
                     "schema": {"type": "object"}},
                    {"$ref": "#/components/parameters/Trace"},
                ],
            },
            "post": {
                "operationId": "createPet",
                "parameters": [{"name": "Idempotency-Key", "in": "header",
                                "schema": {"type": "string"}}],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}
                    },
                },
            },
        },
        "/pets/{petId}": {
            "parameters": [{"name": "petId", "in": "path", "required": True,
                            "schema": {"type": "string"}}],
            "get": {"operationId": "getPet"},
            "delete": {"summary": "Without a name of its own"},
        },
        "/login/{kind}": {
            "parameters": [{"name": "kind", "in": "path", "required": True,
                            "schema": {"type": "string"}}],
            "get": {"operationId": "basicLogin", "security": [{"basic": []}]},
            "put": {"operationId": "bearerLogin", "security": [{"oauth": ["read"]}]},
            "post": {"operationId": "queryLogin", "security": [{"inQuery": []}]},
            "delete": {"operationId": "cookieLogin", "security": [{"inCookie": []}]},
            "patch": {"operationId": "openToAll", "security": []},
        },
        "/form": {
            "post": {
                "operationId": "sendForm",
                "requestBody": {"content": {"application/x-www-form-urlencoded": {
                    "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}}},
            },
            "put": {
                "operationId": "upload",
                "requestBody": {"content": {"multipart/form-data": {"schema": {}}}},
            },
        },
        "/refuse": {"get": {"operationId": "refuse"}},
        "/busy": {"get": {"operationId": "busy"}},
        "/picture": {"get": {"operationId": "picture"}},
    },
    "components": {
        "parameters": {
            "Trace": {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
        },
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["id", "name"],
                "properties": {
                    "id": {"type": "integer", "readOnly": True},
                    "name": {"type": "string", "maxLength": 20},
                    "nick": {"type": "string", "nullable": True},
                    "mother": {"$ref": "#/components/schemas/Pet"},
                },
            },
        },
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "X-Pet-Key"},
            "basic": {"type": "http", "scheme": "basic"},
            "oauth": {"type": "oauth2", "flows": {}},
            "inQuery": {"type": "apiKey", "in": "query", "name": "api_key"},
            "inCookie": {"type": "apiKey", "in": "cookie", "name": "sid"},
        },
    },
}  # fmt: skip


class PetApi(ThreadingHTTPServer):
    """The API on a free port; `seen` is what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def close(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    """Answers as the document says, with the request itself where there is nothing better."""

    protocol_version = "HTTP/1.1"
    server: PetApi

    def log_message(self, *args):
        """Say nothing."""

    def do_GET(self):
        length = int(self.headers.get("content-length") or 0)
        address = urlsplit(self.path)
        seen: dict[str, Any] = {
            "method": self.command,
            "path": address.path,
            "query": parse_qs(address.query),
            "headers": {key.lower(): value for key, value in self.headers.items()},
            "body": self.rfile.read(length).decode(),
        }
        self.server.seen.append(seen)
        path = address.path.removeprefix("/v1")
        if path.startswith("/pets") and not seen["headers"].get("x-pet-key"):
            self.reply(401, {"message": "Who are you?"})
        elif path.startswith("/pets/"):
            number = unquote(path.removeprefix("/pets/"))
            pet = PETS.get(int(number)) if number.isdigit() else None
            self.reply(200 if pet else 404, pet or {"error": {"message": f"No pet {number!r}."}})
        elif path == "/refuse":
            self.reply(400, {"message": f"I was told {seen['headers']} and {seen['query']}."})
        elif path == "/busy":
            self.reply(503, {"detail": "Come back."}, ("Retry-After", "7"))
        elif path == "/picture":
            self.reply(200, b"\x89PNG\xff\xfe", ("Content-Type", "image/png"))
        else:
            self.reply(200, seen)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

    def reply(self, status, body, *headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers or (("Content-Type", "application/json"),):
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
