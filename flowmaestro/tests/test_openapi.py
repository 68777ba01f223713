"""The description of the API: complete, free of warnings, served to anybody, shown offline."""

from __future__ import annotations

import re

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

from executions.api.base import ApiView
from executions.api.schema import ApiSchema
from flowmaestro.openapi import document
from flowmaestro.tests.stock import routes

METHODS = {"get", "post", "put", "patch", "delete"}


def operations():
    """Every operation with its path and method."""
    for path, item in document()["paths"].items():
        for method in METHODS & item.keys():
            yield path, method, item[method]


def test_the_description_is_valid_and_free_of_warnings(tmp_path):
    target = tmp_path / "schema.yaml"
    call_command("spectacular", file=str(target), validate=True, fail_on_warn=True)
    assert yaml.safe_load(target.read_text())["openapi"] == "3.1.0"


def test_every_route_of_the_api_is_described_with_every_method():
    described = {(path, method) for path, method, _ in operations()}
    for path, view in routes():
        if path in ("/api/schema/", "/api/docs/"):
            continue
        assert isinstance(view.schema, ApiSchema), path
        assert not METHODS.isdisjoint(dir(view)), path
        for method in METHODS & set(dir(view)):
            assert (path, method) in described


def test_every_operation_has_a_name_of_its_own_a_summary_and_a_tag():
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    for path, method, operation in operations():
        where = f"{method} {path}"
        assert operation["summary"] and len(operation["summary"]) < 120, where
        assert len(operation["tags"]) == 1, where


def test_every_operation_tells_what_it_answers():
    for path, method, operation in operations():
        where = f"{method} {path}"
        good = [status for status in operation["responses"] if status.startswith("2")]
        assert good, where
        for status in good:
            if status != "204":
                assert operation["responses"][status]["content"], (where, status)
        wanted = {"400", "401", "403", "404", "405", "406", "409", "429", "503"}
        if "requestBody" in operation:
            wanted |= {"413", "415"}
        assert wanted <= operation["responses"].keys(), where


def test_what_an_operation_needs_is_told():
    schemes = document()["components"]["securitySchemes"]
    assert set(schemes) == {"apiKey", "publicToken", "session"}
    views = dict(routes())
    for path, method, operation in operations():
        view = views.get(path)
        if view is None or not issubclass(view, ApiView) or not view.permission_classes:
            continue
        names = {name for each in operation["security"] for name in each}
        takes_tokens = view.public_access is not ApiView.public_access
        assert names == {"apiKey", "session"} | ({"publicToken"} if takes_tokens else set()), (
            method, path,
        )  # fmt: skip


@pytest.mark.django_db
def test_anybody_may_read_it_as_json_or_yaml():
    client = Client()
    answer = client.get("/api/schema/")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert answer.json() == document()
    answer = client.get("/api/schema/", headers={"Accept": "application/yaml"})
    assert yaml.safe_load(answer.content) == document()
    # A key that is not valid is no reason to hide it.
    assert client.get("/api/schema/", headers={"Authorization": "Bearer x"}).status_code == 200
    assert client.post("/api/schema/").status_code == 405


@pytest.mark.django_db
def test_the_page_that_shows_it_needs_no_other_host():
    client = Client()
    answer = client.get("/api/docs/")
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "/api/schema/" in page
    assert not re.findall(r"https?://", page)
    found = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(found) >= 3
    for address in found:
        assert address.startswith("/static/")
        part = client.get(address)
        assert part.status_code == 200
        # It is a file, which is closed when it has been read.
        assert part.getvalue()
