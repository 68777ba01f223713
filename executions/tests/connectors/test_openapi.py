"""integration nodes against an API that an OpenAPI document describes."""

from __future__ import annotations

import base64
import copy
import io
import json

import pytest
import yaml
from django.core.management import CommandError, call_command

from executions import (
    api_descriptions,
    connections,
    connectors,
    masking,
    workflows,
    workspaces,
)
from executions.connectors import CallFailed, CallRefused, OperationMissing
from executions.errors import Conflict, Invalid
from executions.models import ApiDescription, AuditEntry
from executions.nodes import BadConfig
from executions.outbound.logins import BadLogin
from executions.tests.connectors.pet_api import DOCUMENT, PetApi
from executions.tests.fakes import FakeContext
from executions.tests.flows import flow
from executions.tests.flows import run as run_flow
from executions.tests.nodes.calls import output
from executions.tests.people import person

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "pet-key-4711"


@pytest.fixture
def api(settings):
    running = PetApi()
    settings.FLOWMAESTRO = {"OUTBOUND_ALLOW_PRIVATE": (f"127.0.0.1:{running.server_port}",)}
    api_descriptions.register("pets", json.dumps(DOCUMENT), base_url=running.url)
    connections.create("my pets", "pets", secrets={"apiKey": KEY})
    yield running
    running.close()


def run(config, **inputs):
    with masking.hiding():
        return output("integration", {"provider": "pets", **config}, **inputs)


def test_an_operation_is_called_with_the_connection_of_its_provider(api):
    config = {"operation": "getPet", "petId": "{{n}}", "outputVariable": "pet"}
    found = run(config, n=1)
    assert found["pet"] == {"id": 1, "name": "Rex"}
    assert (found["status"], found["headers"]["content-type"]) == (200, "application/json")
    assert api.seen[0]["headers"]["x-pet-key"] == KEY
    assert run({"action": "getPet", "parameters": {"petId": "2"}})["data"]["name"] == "Tom"


def test_an_action_node_is_the_same(api):
    with masking.hiding():
        found = output("action", {"provider": "Pets", "action": "GETPET", "petId": 1})
    assert found["data"]["name"] == "Rex"


def test_parameters_go_where_the_document_says(api):
    run({
        "operation": "listPets", "limit": "5", "tags": ["a b", "c&d"], "ids": [1, 2],
        "filter": {"age": 3}, "x-trace": "t1",
    })  # fmt: skip
    (seen,) = api.seen
    assert seen["query"] == {
        "limit": ["5"], "tags": ["a b", "c&d"], "ids": ["1,2"], "filter[age]": ["3"],
    }  # fmt: skip
    assert seen["headers"]["x-trace"] == "t1"


@pytest.mark.parametrize(
    "config",
    [
        {"name": "{{who}}", "nick": None},
        {"body": {"name": "{{who}}", "nick": None}},
        {"body": '{"name": "Kim", "nick": null}'},
        {"name": "{{who}}", "body": {"nick": None}},
    ],
)
def test_a_body_is_given_whole_or_field_by_field(api, config):
    found = run({"operation": "createPet", "Idempotency-Key": "k1", **config}, who="Kim")["data"]
    assert json.loads(found["body"]) == {"name": "Kim", "nick": None}
    assert found["headers"]["content-type"] == "application/json"


def test_a_step_names_itself_to_an_api_that_tells_repeated_calls_apart(api):
    definition = flow({"a": ("integration", {
        "provider": "pets", "operation": "createPet", "name": "Kim", "outputVariable": "made",
    })})  # fmt: skip
    result = run_flow(definition, ctx=FakeContext())
    assert result["success"], result
    assert api.seen[0]["headers"]["idempotency-key"] == "a/run"


def test_forms_and_files_are_sent(api):
    assert run({"operation": "sendForm", "a": "x y"})["data"]["body"] == "a=x+y"
    file = {"filename": 'a"b.txt', "content": "hello"}
    body = run({"operation": "upload", "file": file, "note": "n"})["data"]["body"]
    assert 'name="file"; filename="a%22b.txt"\r\nContent-Type: text/plain\r\n\r\nhello' in body
    assert 'name="note"\r\n\r\nn\r\n' in body


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"operation": "getPet"}, "'petId' is missing"),
        ({"operation": "getPet", "petId": ".."}, "cannot be"),
        ({"operation": "getPet", "petId": ""}, "cannot be"),
        ({"operation": "getPet", "petId": 1, "other": 2}, "takes no 'other'"),
        ({"operation": "listPets", "limit": "many"}, "limit"),
        ({"operation": "listPets", "limit": 0}, "excluded"),
        ({"operation": "createPet", "Idempotency-Key": "k"}, "`body` is missing"),
        ({"operation": "createPet", "Idempotency-Key": "k", "nick": "x"}, "'name' is a required"),
        ({"operation": "createPet", "Idempotency-Key": "k", "name": "x" * 30}, "too long"),
        ({"operation": "createPet", "Idempotency-Key": "k", "name": "x", "mother": {"name": 1}},
         "mother"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_sent(api, config, said):
    with pytest.raises(CallRefused, match=said):
        run(config)
    assert api.seen == []


def test_a_path_parameter_stays_one_part_of_the_path(api):
    with pytest.raises(CallRefused, match="404"):
        run({"operation": "getPet", "petId": "../login/x?y#z"})
    assert api.seen[0]["path"] == "/v1/pets/..%2Flogin%2Fx%3Fy%23z"


@pytest.mark.parametrize(
    ("operation", "secrets", "place", "value"),
    [
        ("basicLogin", {"username": "ada-l", "password": "s3cret"}, "authorization",
         "Basic " + base64.b64encode(b"ada-l:s3cret").decode()),
        ("bearerLogin", {"token": "tok-1"}, "authorization", "Bearer tok-1"),
        ("cookieLogin", {"apiKey": "key-1"}, "cookie", "sid=key-1"),
    ],
)  # fmt: skip
def test_each_kind_of_login_is_sent_as_described(api, operation, secrets, place, value):
    connections.create("other", "pets", secrets=secrets)
    run({"operation": operation, "kind": "x", "connection": "other"})
    assert api.seen[0]["headers"][place] == value


def test_a_key_may_go_into_the_query_and_nothing_goes_where_nothing_is_asked(api):
    run({"operation": "queryLogin", "kind": "x"})
    assert api.seen[0]["query"] == {"api_key": [KEY]}
    run({"operation": "openToAll", "kind": "x"})
    assert KEY not in json.dumps(api.seen[1])


def test_a_login_that_is_missing_is_asked_for(api):
    with pytest.raises(CallRefused, match="no login of the kind"):
        run({"operation": "basicLogin", "kind": "x"})
    connections.delete("my pets")
    with pytest.raises(CallRefused, match=r"add_connection NAME --provider pets"):
        run({"operation": "listPets"})


def test_the_message_of_the_api_is_the_error_and_a_refusal_is_not_tried_again(api):
    with pytest.raises(
        CallRefused, match=r"pets getPet answered 404 Not Found: No pet '9'\."
    ) as no:
        run({"operation": "getPet", "petId": 9})
    assert no.value.non_retryable
    with pytest.raises(CallFailed, match=r"503 .*Come back") as busy:
        run({"operation": "busy"})
    assert busy.value.retry_after == 7
    assert not getattr(busy.value, "non_retryable", False)


def test_a_failure_may_be_data(api):
    config = {"operation": "getPet", "petId": 9, "errorAsData": True, "outputVariable": "pet"}
    found = run(config)
    assert found["pet"] is None
    assert "404" in found["integrationError"]


def test_content_that_is_no_text_comes_in_base64(api):
    found = run({"operation": "picture"})["data"]
    assert base64.b64decode(found["base64"]) == b"\x89PNG\xff\xfe"
    assert found["contentType"] == "image/png"


def test_an_operation_without_a_name_goes_by_its_method_and_path(api):
    assert run({"operation": "delete  /pets/{petId}", "petId": 1})["data"]["name"] == "Rex"


def test_a_connection_may_bring_its_own_address_and_is_for_that_only(api):
    connections.create(
        "tenant", "pets", fields={"baseUrl": f"{api.url}/tenant"}, secrets={"apiKey": KEY}
    )
    run({"operation": "sendForm", "connection": "tenant"})
    assert api.seen[0]["path"] == "/v1/tenant/form"


def test_an_http_node_takes_a_connection_to_its_own_address_only(api):
    connections.create("web", "http", fields={"baseUrl": api.url}, secrets={"token": "tok-4711"})
    with masking.hiding():
        found = output("http", {"url": "form", "connection": "web", "method": "POST"})
        assert found["data"]["headers"]["authorization"] == "Bearer tok-4711"
        for url in ("https://example.com/", f"{api.url}/../x", f"{api.url}evil"):
            with pytest.raises((BadLogin, Invalid)):
                output("http", {"url": url, "connection": "web"})
        output("http", {"url": "//evil.test/form", "connection": "web"})
    assert [seen["path"] for seen in api.seen] == ["/v1/form", "/v1/evil.test/form"]


def test_an_http_node_does_not_take_the_secrets_of_other_providers_anywhere(api):
    with masking.hiding(), pytest.raises(BadConfig, match="baseUrl"):
        output("http", {"url": f"{api.url}/form", "connection": "my pets"})
    assert api.seen == []


def test_a_run_uses_the_connections_of_its_workspace_and_no_others(api):
    ada, bob = (workspaces.personal(person(name).pk).id for name in ("ada", "bob"))
    connections.create("mine", "pets", secrets={"apiKey": "key-of-ada"}, workspace=ada)
    definition = flow({"a": ("integration", {
        "provider": "pets", "operation": "sendForm", "connection": "mine",
    })})  # fmt: skip
    for workspace, is_well in ((ada, True), (bob, False), (None, False)):
        context = FakeContext()
        context.workspace = workspace
        result = run_flow(definition, ctx=context)
        assert result["success"] is is_well
        if not is_well:
            error = result["nodes"]["a"]["error"]["message"]
            assert "There is no connection 'mine'" in error
    assert [seen["headers"]["x-pet-key"] for seen in api.seen] == ["key-of-ada"]


# ---- registration and validation ----------------------------------------------------------------


def test_the_catalogue_says_what_an_operation_takes(api):
    operations = connectors.get("pets").operations()
    pet = operations["createPet"].parameters
    assert pet["required"] == ["body"]
    assert pet["properties"]["body"]["properties"]["name"]["maxLength"] == 20
    assert operations["listPets"].title == "List pets"
    json.dumps({name: dict(each.parameters) for name, each in operations.items()})


def test_a_document_may_be_yaml_and_replaces_an_earlier_one(api, tmp_path):
    changed = copy.deepcopy(DOCUMENT)
    changed["info"]["title"] = "New pets"
    del changed["paths"]["/busy"]
    file = tmp_path / "pets.yaml"
    file.write_text("# pets\n" + yaml.safe_dump(changed) + "x-day: 2020-01-01\n")
    assert connectors.get("pets").operation_of("busy") == "busy"
    out = io.StringIO()
    call_command("register_api", "pets", str(file), "--base-url", api.url, stdout=out)
    assert "New pets" in out.getvalue()
    assert connectors.get("pets").operation_of("busy") is None
    assert ApiDescription.objects.get().document["x-day"] == "2020-01-01"
    assert AuditEntry.objects.get(action="api.register").after["operations"] == 13
    with pytest.raises(OperationMissing, match="no operation 'busy'"):
        run({"operation": "busy"})


def many_aliases():
    lines = ["openapi: 3.0.0", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join([*lines, "paths: {/x: {get: {}}}"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2", "neither JSON nor YAML"),
        ("{}", "no OpenAPI version"),
        ('{"swagger": "2.0", "paths": {"/x": {"get": {}}}}', "Swagger 2.0"),
        ('{"openapi": "3.0.0", "paths": {}}', "no paths"),
        ('{"openapi": "3.1.0", "paths": {"/x": {"$ref": "https://e.test/x"}}}', "bundle"),
        ('{"openapi": "3.1.0", "paths": {"/x": {"$ref": "other.yaml#/x"}}}', "bundle"),
        ('{"openapi": "3.1.0", "paths": {"/x": {"$ref": "#/nowhere"}}}', "leads nowhere"),
        ('{"openapi": "3.1.0", "paths": {"/x": {"$ref": "#/paths/~1x"}}}', "circle"),
        ('{"openapi": "3.0.0", "paths": ' + "[" * 200 + "]" * 200 + "}", "deeper"),
        (many_aliases(), "more than 2,000,000 values"),
        ("a: &a [*a]", "neither|deeper"),
        ("!!python/object/apply:os.system ['true']", "neither JSON nor YAML"),
    ],
)
def test_a_document_that_cannot_be_used_is_refused_and_nothing_is_stored(db, text, said):
    with pytest.raises(Invalid, match=said):
        api_descriptions.register("pets", text)
    assert not ApiDescription.objects.exists()


def test_a_provider_that_is_built_in_keeps_its_name(db):
    for name in ("postgresql", "Postgres"):
        with pytest.raises(Conflict, match="built in"):
            api_descriptions.register(name, json.dumps(DOCUMENT))
    with pytest.raises(CommandError):
        call_command("register_api", "pets", "/nowhere/pets.json")


def test_what_is_missing_is_told_when_a_definition_is_looked_at(api):
    definition = flow(
        {
            "a": ("integration", {"provider": "slack", "action": "sendMessage", "text": "hi"}),
            "b": ("integration", {"provider": "pets", "operation": "listPet"}),
            "c": ("database", {"provider": "mongodb", "operation": "find"}),
            "d": ("integration", {"provider": "pets", "operation": "listPets"}),
            "e": ("action", {}),
            "f": ("database", {"query": "SELECT 1"}),
        }
    )
    found = {issue.node: issue for issue in workflows.validate(definition) if issue.code in (
        "CONNECTOR_MISSING", "OPERATION_MISSING",
    )}  # fmt: skip
    assert {node: issue.code for node, issue in found.items()} == {
        "a": "CONNECTOR_MISSING", "b": "OPERATION_MISSING", "c": "CONNECTOR_MISSING",
        "e": "CONNECTOR_MISSING",
    }  # fmt: skip
    assert "'slack'" in found["a"].message
    assert "register_api slack FILE" in found["a"].message
    assert "listPets" in found["b"].message


def test_a_missing_connector_fails_its_node_once_and_a_pin_stands_in_for_it(api):
    definition = flow(
        {
            "a": ("integration", {"provider": "slack", "action": "send", "outputVariable": "sent"}),
            "r": ("output", {"outputName": "r", "value": "{{sent.id}}"}),
        },
        "a>r",
    )
    result = run_flow(definition)
    assert result["nodes"]["a"]["attempts"] == 1
    assert "no connector 'slack'" in result["nodes"]["a"]["error"]["message"]
    pinned = run_flow(definition, pins={"a": {"output": {"sent": {"id": 7}}}})
    assert pinned["outputs"] == {"r": "7"}
