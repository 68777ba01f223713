"""validate_workflow, import_workflows and describe_nodes, as one types them."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from executions.models import Workflow, WorkflowVersion
from executions.tests.test_stored_workflows import ECHO

BAD = {"name": "Bad", "nodes": {"a": {"type": "nonsense", "config": {}}}, "edges": []}


def typed(*words: str) -> tuple[str, int]:
    """What a command prints, and its exit status."""
    out = StringIO()
    try:
        call_command(*words, stdout=out, stderr=StringIO())
    except SystemExit as end:
        return out.getvalue(), int(end.code or 0)
    return out.getvalue(), 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One definition that can run, one that cannot, one that is no JSON."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "echo.json").write_text(json.dumps(ECHO))
    (tmp_path / "bad.json").write_text(json.dumps(BAD))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "notes.txt").write_text("not looked at")
    return tmp_path


def test_validating_a_folder_reports_each_file(folder: Path) -> None:
    text, status = typed("validate_workflow", str(folder))
    assert status == 1
    assert f"{folder}/deep/echo.json: valid (Echo)" in text
    assert f"{folder}/bad.json: cannot run (Bad)" in text
    assert "nonsense" in text
    assert "NOT_JSON" in text
    assert "notes.txt" not in text


def test_validating_prints_json(folder: Path) -> None:
    text, status = typed("validate_workflow", str(folder / "bad.json"), "--json")
    (report,) = json.loads(text)
    assert (status, report["valid"]) == (1, False)
    assert {"code", "node", "severity", "message"} == report["issues"][0].keys()


@pytest.mark.parametrize("command", ["validate_workflow", "import_workflows"])
def test_a_path_that_is_not_there_is_bad_input(command: str) -> None:
    with pytest.raises(CommandError, match="no file or folder") as refused:
        call_command(command, "nowhere.json")
    assert refused.value.returncode == 2


@pytest.mark.django_db
def test_importing_stores_what_can_run_and_names_what_cannot(folder: Path) -> None:
    text, status = typed("import_workflows", str(folder), "--json")
    reports = {Path(report["path"]).name: report for report in json.loads(text)}
    assert status == 1
    assert reports["echo.json"]["status"] == "stored"
    assert reports["bad.json"]["status"] == "refused"
    assert reports["broken.json"]["issues"][0]["code"] == "NOT_JSON"
    assert list(Workflow.objects.values_list("name", flat=True)) == ["Echo"]
    assert WorkflowVersion.objects.get().definition == ECHO


@pytest.mark.django_db
def test_importing_again_stores_only_what_has_changed(folder: Path) -> None:
    path = folder / "deep" / "echo.json"
    typed("import_workflows", str(path))
    text, _ = typed("import_workflows", str(path))
    assert "unchanged" in text
    path.write_text(json.dumps({**ECHO, "description": "new"}))
    text, status = typed("import_workflows", str(path))
    assert (status, "version 2" in text) == (0, True)


@pytest.mark.django_db
def test_a_dry_run_and_an_unknown_owner_store_nothing(folder: Path) -> None:
    path = str(folder / "deep" / "echo.json")
    assert "valid" in typed("import_workflows", path, "--dry-run")[0]
    with pytest.raises(CommandError, match="no user"):
        call_command("import_workflows", path, "--owner", "nobody")
    assert not Workflow.objects.exists()


def test_the_catalogue_has_a_schema_for_every_type() -> None:
    entries: list[dict[str, Any]] = json.loads(typed("describe_nodes", "--json")[0])
    by_type = {entry["type"]: entry for entry in entries}
    assert {"http", "loop", "llm", "code", "subworkflow"} <= by_type.keys()
    for entry in entries:
        assert entry["config"]["type"] == "object"
        assert entry["isAvailable"] is not bool(entry["missing"])
    assert by_type["http"]["config"]["required"] == ["url"]
    assert "temperature" in by_type["llm"]["config"]["properties"]


def test_a_type_is_described_by_any_of_its_names() -> None:
    assert "Address" in typed("describe_nodes", "httpRequest")[0]
    with pytest.raises(CommandError, match="no node type 'nope'"):
        call_command("describe_nodes", "nope")
