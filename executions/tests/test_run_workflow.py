"""`manage.py run_workflow`, called in this process and as a command of its own."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from executions import reviews, runs
from executions.models import Run
from executions.standalone import is_anybody_working
from executions.terminal import line_of, printable
from executions.tests.conftest import eventually
from executions.tests.flows import flow
from executions.tests.people import BROKEN, REVIEW, SUM, until_asked

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60


@pytest.fixture
def file(tmp_path):
    """Writes a document to a file and gives its path."""

    def write(document):
        path = tmp_path / "workflow.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    return write


def run(path, *options):
    """The exit status of the command in this process, and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("run_workflow", path, *options, stdout=out, stderr=err, no_color=True)
    except SystemExit as left:
        return left.code, out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_progress_and_outputs_are_shown_and_success_is_0(executor, file):
    status, out, err = run(file(SUM), "--inputs", '{"a": 2, "b": 3}')
    assert status == 0
    lines = [line.split(maxsplit=1)[1] for line in out.splitlines() if line[:1].isdigit()]
    assert [" ".join(line.split()) for line in lines] == [
        "started add",
        "completed add",
        "started end",
        "completed end",
    ]
    assert "COMPLETED after" in out
    assert json.loads(out[out.index("{") :]) == {"sum": 5}
    assert err == ""


def test_json_is_one_document_and_progress_goes_elsewhere(executor, file):
    wrapper = {"name": "Wrapped", "definition": {**SUM, "name": ""}, "inputs": {"a": 1, "b": 1}}
    status, out, err = run(file(wrapper), "--json", "--inputs", '{"b": 5}')
    assert status == 0
    outcome = json.loads(out)
    assert set(outcome) == {"executionId", "status", "outputs", "error", "nodes"}
    assert (outcome["status"], outcome["outputs"]) == ("COMPLETED", {"sum": 6})
    assert outcome["error"] is None
    assert outcome["nodes"]["add"]["status"] == "completed"
    assert "completed  add" in err
    metadata = runs.retrieve(outcome["executionId"]).data.metadata
    assert metadata["workflowName"] == "Wrapped"


def test_a_run_that_fails_is_1_and_says_why(executor, file):
    status, out, _ = run(file(BROKEN))
    assert status == 1
    assert "failed     call: " in out
    assert "FAILED after" in out
    status, out, _ = run(file(BROKEN), "--json")
    assert status == 1
    outcome = json.loads(out)
    assert outcome["status"] == "FAILED"
    assert "call" in outcome["error"]


def test_pins_stand_in_for_nodes(executor, file):
    status, out, _ = run(file(BROKEN), "--json", "--pins", '{"call": {"output": {"x": 1}}}')
    assert status == 0
    assert json.loads(out)["outputs"] == {"x": 1}


@pytest.mark.parametrize(
    ("document", "options", "problem"),
    [
        (None, [], "No such file"),
        ("{ no", [], "is not JSON"),
        ([], [], "the workflow cannot run"),
        ({"nodes": {"a": {"type": "nonsense"}}}, [], "nonsense"),
        (SUM, ["--inputs", "{ no"], "--inputs is not JSON"),
        (SUM, ["--inputs", "[1]"], "inputs is an object"),
        (SUM, ["--pins", "{ no"], "--pins is not JSON"),
        (SUM, ["--pins", '{"nobody": {"output": 1}}'], "nobody"),
        (SUM, ["--inputs", '{"a": NaN}'], "NaN|JSON compliant|cannot be stored"),
        (SUM, ["--inputs", '{"a": "\\u0000"}'], "NUL"),
    ],
)
def test_bad_input_is_2_and_named_and_nothing_runs(
    transactional_db, file, document, options, problem
):
    path = "/nowhere/at/all.json" if document is None else file(document)
    with pytest.raises(CommandError, match=problem) as refused:
        call_command("run_workflow", path, *options, stdout=io.StringIO(), stderr=io.StringIO())
    assert refused.value.returncode == 2
    assert not Run.objects.exists()


def test_control_characters_of_a_workflow_do_not_reach_the_terminal(executor, file):
    definition = flow({"a": ("noop", {}, {"name": "red \x1b[31m alert"})})
    _, out, _ = run(file(definition))
    assert "\x1b" not in out
    assert "red  [31m alert" in out
    assert printable("a\x07b\nc") == "a b c"


def test_what_a_node_warns_of_is_said(executor, file):
    config = {"inputName": "x", "required": True}
    definition = flow({"i": ("input", config, {"name": "the \x1b x"})})
    _, out, _ = run(file(definition))
    assert "warning: the   x: The input 'x' was not given; it is null." in out


def test_events_that_say_nothing_to_people_are_left_out(executor, file):
    _, out, _ = run(file(SUM), "--inputs", '{"a": 1, "b": 2}', "--json")
    events = runs.events(json.loads(out)["executionId"])
    said = [event.type for event in events if line_of(event) is not None]
    assert said == ["node_started", "node_completed"] * 2


# ---- as a process of its own --------------------------------------------------------------------


class Command:
    """A `manage.py run_workflow` on a database; at a terminal when asked for."""

    def __init__(self, path, *options, terminal=False, **environment):
        self.terminal: int | None = None
        line = subprocess.DEVNULL
        if terminal:
            self.terminal, line = pty.openpty()
        env = {name: value for name, value in os.environ.items() if not name.startswith("FLOW")}
        env["FLOWMAESTRO_SECRET_KEY"] = os.environ["FLOWMAESTRO_SECRET_KEY"]
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "run_workflow", path, "--json", *options],
            cwd=ROOT,
            env=env | environment,
            stdin=line,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        if terminal:
            os.close(line)

    def said(self):
        """What it wrote to stderr so far."""
        self.errors.seek(0)
        return self.errors.read()

    def type(self, text):
        """Type at its terminal."""
        assert self.terminal is not None
        os.write(self.terminal, text.encode())

    def ends(self):
        """Its exit status and its document."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, json.loads(out)

    def close(self):
        """End what a failed test left behind."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        self.errors.close()
        if self.terminal is not None:
            os.close(self.terminal)


@pytest.fixture
def command(database_url):
    """Starts the command on the test database, where nobody works."""
    started = []

    def start(*arguments, **options):
        options.setdefault("FLOWMAESTRO_DATABASE_URL", database_url)
        started.append(Command(*arguments, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def waiting_run():
    """The run that has asked its question."""
    found = eventually(Run.objects.filter(status="WAITING").first, seconds=PATIENCE)
    until_asked(found.id)
    return found.id


def test_it_works_by_itself_when_nobody_else_does(command, file):
    assert not is_anybody_working()
    status, outcome = command(file(SUM), "--inputs", '{"a": 2, "b": 2}').ends()
    assert status == 0
    assert outcome["outputs"] == {"sum": 4}
    assert not is_anybody_working()


def test_a_review_is_asked_at_the_terminal_until_the_answer_fits(command, file):
    asked = command(file(REVIEW), terminal=True)
    waiting_run()
    assert eventually(lambda: "? How many for Ada?" in asked.said())
    asked.type("9\n")
    assert eventually(lambda: "9 is above the most allowed, 5." in asked.said())
    asked.type("5\n")
    status, outcome = asked.ends()
    assert (status, outcome["outputs"]) == (0, {"count": 5})


def test_without_a_terminal_it_says_how_to_answer_and_goes_on(command, file):
    asked = command(file(REVIEW))
    run_id = waiting_run()
    assert eventually(lambda: f"/api/executions/{run_id}/submit-response" in asked.said())
    reviews.answer(run_id, 2)
    status, outcome = asked.ends()
    assert (status, outcome["outputs"]) == (0, {"count": 2})


def test_ctrl_c_cancels_the_run(command, file):
    asked = command(file(REVIEW))
    run_id = waiting_run()
    assert eventually(lambda: "waits for an answer" in asked.said())
    asked.process.send_signal(signal.SIGINT)
    status, outcome = asked.ends()
    assert (status, outcome["status"]) == (1, "CANCELED")
    assert runs.retrieve(run_id).status == "CANCELED"


def test_from_nothing_it_starts_the_embedded_database(file):
    with tempfile.TemporaryDirectory(prefix="fm-alone-") as directory:
        for _ in range(2):
            alone = Command(
                file(SUM), "--inputs", '{"a": 1, "b": 2}', FLOWMAESTRO_DATA_DIR=f"{directory}/data"
            )
            try:
                status, outcome = alone.ends()
                said = alone.said()
            finally:
                alone.close()
            assert (status, outcome["outputs"]) == (0, {"sum": 3})
            assert "Starting the embedded database" in said
            assert not Path(directory, "data/postgres/postmaster.pid").exists()
