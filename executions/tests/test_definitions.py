"""Every shared definition parses, draws and runs to its end with its outside nodes pinned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from executions import nodes, workflows
from executions.tests.flows import run, statuses

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "definitions" / "workflow-patterns"
FILES = sorted(FOLDER.glob("*.json"))
OUTSIDE = {"llm", "integration", "url", "knowledgeBaseQuery", "wait"}

pytestmark = pytest.mark.skipif(not FILES, reason="the shared definitions are not here")


def load(path):
    return json.loads(path.read_text())["definition"]


def pins_for(definition, route=0):
    """A pin for each node that needs a model, an account, the network or a person."""
    answer = {"text": 'a text with "score": 9 and "priority": "critical"', "id": "x1"}
    pins: dict[str, Any] = {}
    for key, node in definition["nodes"].items():
        config, kind = node["config"], node["type"]
        name = config.get("outputVariable")
        if kind in OUTSIDE:
            pins[key] = {"output": {name: answer} if name else answer}
        elif kind == "router":
            routes = config["routes"]
            value = routes[route % len(routes)]["value"]
            pins[key] = {"output": {name: value, "_routerMetadata": {"confidence": 1}}}
        elif kind == "humanReview":
            pins[key] = {"output": {config["variableName"]: "yes"}}
        elif kind == "loop":
            pins[key] = {"output": {"iterations": 1, "items": ["Ann"], "completed": True}}
    return pins


@pytest.mark.django_db
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shared_definition_has_no_errors(path):
    issues = workflows.validate(load(path))
    assert [issue for issue in issues if issue.severity == "error"] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("route", [0, 1])
def test_a_shared_definition_runs_to_its_end_with_pins(path, route):
    definition = load(path)
    result = run(definition, pins=pins_for(definition, route), inputs={"request": "hello"})
    assert result["success"], result.get("error")
    assert set(statuses(result).values()) <= {"completed", "skipped"}
    assert result["outputs"]


def test_a_router_runs_only_the_branch_its_pin_chose():
    definition = load(FOLDER / "smart-router.json")
    result = run(definition, pins=pins_for(definition, 2), inputs={"request": "a poem"})
    ran = {node for node, status in statuses(result).items() if status == "completed"}
    assert {node for node in ran if node.startswith("llm")} == {
        edge["target"] for edge in definition["edges"] if edge.get("sourceHandle") == "creative"
    }


def test_the_quality_reviewer_revises_until_the_score_is_high():
    definition = load(FOLDER / "quality-reviewer.json")
    pins = pins_for(definition)
    low, high = ({"output": {"evaluation": {"text": f'"score": {n}'}}} for n in (3, 9))
    pins["llm-evaluate"] = low
    pins["conditional-quality"] = {
        "output": {"conditionMet": False, "branch": "false"},
    }
    definition["settings"] = {"maxRounds": 2}
    stuck = run(definition, pins=pins, inputs={"request": "x"})
    assert not stuck["success"]
    assert "limit of 2 rounds" in stuck["error"]
    del pins["conditional-quality"]
    pins["llm-evaluate"] = high
    result = run(definition, pins=pins, inputs={"request": "x"})
    assert result["success"]
    assert result["nodes"]["conditional-quality"]["output"]["branch"] == "true"


def test_unpinned_each_outside_node_says_what_is_missing():
    definition = load(FOLDER / "smart-router.json")
    result = run(definition, inputs={"request": "x"})
    assert not result["success"]
    assert "model provider" in result["nodes"]["router-1"]["error"]["message"]
    assert "'openai'" in result["nodes"]["router-1"]["error"]["message"]
    assert result["nodes"]["router-1"]["attempts"] == 1


def test_every_type_of_the_shared_definitions_is_in_the_catalogue():
    types = {node["type"] for path in FILES for node in load(path)["nodes"].values()}
    assert {kind for kind in types if nodes.find(kind) is None} == set()
