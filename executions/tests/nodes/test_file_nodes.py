"""Tests of fileRead, fileWrite, fileOperations and files with the files of real runs."""

from __future__ import annotations

import base64
import time

import pytest

from executions import files, runs
from executions.rules.chunking import split
from executions.rules.definition import InvalidDefinition
from executions.sandbox import samples
from executions.tests.nodes.running import one, ran, refusal


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_what_one_node_writes_another_reads(engine):
    run_id, result = ran(
        engine,
        {
            "w": ("fileWrite", {"path": "out/{{name}}.txt", "content": "Größe {{n}}"}),
            "r": ("fileRead", {"path": "{{w.path}}", "outputVariable": "text"}),
            "again": ("fileRead", {"path": "{{w}}", "encoding": "base64"}),
        },
        "w>r", "r>again", name="a", n=7,
    )  # fmt: skip
    nodes = result["nodes"]
    kept = nodes["w"]["output"]
    assert (kept["path"], kept["mediaType"], kept["size"]) == ("out/a.txt", "text/plain", 9)
    assert nodes["r"]["output"]["text"]["content"] == "Größe 7"
    assert nodes["again"]["output"]["content"] == encoded("Größe 7".encode())
    assert files.read(run_id, "out/a.txt")[1] == "Größe 7".encode()


def test_values_are_written_as_json_and_bytes_as_bytes(engine):
    run_id, _ = one(engine, "fileWrite", {"path": "a.json", "content": "{{v}}"}, v={"k": ["ü"]})
    assert files.read(run_id, "a.json")[1] == b'{\n  "k": [\n    "\xc3\xbc"\n  ]\n}'
    config = {"filePath": "a.bin", "content": encoded(b"\0\xff"), "encoding": "base64"}
    run_id, _ = one(engine, "fileWrite", config)
    assert files.read(run_id, "a.bin")[1] == b"\0\xff"


@pytest.mark.parametrize("path", ["/etc/passwd", "../up.txt", "a/../../b", "{{evil}}", "{{none}}"])
def test_no_node_leaves_the_folder_of_its_run(path, engine):
    inputs = {"evil": "../../x"}
    for kind, config in (
        ("fileWrite", {"path": path, "content": "x"}),
        ("fileRead", {"path": path}),
        ("fileOperations", {"operation": "read", "filePath": path}),
    ):
        said = refusal(engine, kind, config, **inputs)
        assert any(word in said for word in ("absolute", "leads out", "unknown name"))


def test_a_file_of_another_run_is_not_to_be_had(engine):
    first, _ = one(engine, "fileWrite", {"path": "secret.txt", "content": "x"})
    said = refusal(engine, "fileRead", {"path": {"runId": first, "path": "secret.txt"}})
    assert "no file 'secret.txt'" in said


def test_a_file_that_may_not_be_overwritten_is_kept(engine):
    _, result = ran(
        engine,
        {
            "a": ("fileWrite", {"path": "x", "content": "1"}),
            "b": ("fileWrite", {"path": "x", "content": "2", "overwrite": False, "retry": 1}),
        },
        "a>b",
    )
    assert "already" in result["nodes"]["b"]["error"]["message"]


def test_reading_keeps_to_its_limit(engine):
    _, result = ran(
        engine,
        {
            "w": ("fileWrite", {"path": "x", "content": "x" * 100}),
            "r": ("fileRead", {"path": "x", "maxSize": 99, "retry": 1}),
        },
        "w>r",
    )
    assert "over the limit of 99" in result["nodes"]["r"]["error"]["message"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"operation": "parseCSV", "fileSource": "{{table}}"},
         {"rows": [{"a": "1", "b": "2"}], "columns": ["a", "b"], "rowCount": 1, "delimiter": ";"}),
        ({"operation": "parseCSV", "fileSource": "{{table}}", "hasHeader": False},
         {"rows": [["a", "b"], ["1", "2"]]}),
        ({"operation": "parseJSON", "fileSource": "{{json}}"}, {"data": {"k": [1]}}),
        ({"operation": "parse-json", "fileSource": "content", "content": "[1]"}, {"data": [1]}),
        ({"operation": "parsePDF", "fileSource": "base64", "content": "{{pdf}}"},
         {"text": "word", "pageCount": 1}),
        ({"operation": "parsePDF", "file": "{{pdf}}"}, {"text": "word"}),
        ({"operation": "read", "filePath": "data:text/plain;base64,aGk="}, {"content": "hi"}),
    ],
)  # fmt: skip
def test_files_are_parsed_wherever_they_come_from(config, expected, engine):
    _, found = one(
        engine, "file", config, pdf=encoded(samples.pdf()),
        table={"name": "t.csv", "text": "a;b\n1;2"},
        json={"name": "t.json", "content": encoded(b'{"k": [1]}')},
    )  # fmt: skip
    assert {key: found[key] for key in expected} == expected


def test_operations_write_and_read(engine):
    run_id, found = one(engine, "fileOperations",
                        {"operation": "write", "outputPath": "a.txt", "content": "hi"})  # fmt: skip
    assert files.read(run_id, "a.txt")[0].as_json() == found


def test_a_broken_file_is_an_error_that_says_so(engine):
    said = refusal(engine, "file", {"operation": "parseJSON", "fileSource": {"text": "{"}})
    assert "not JSON" in said
    said = refusal(engine, "file", {"operation": "parsePDF", "fileSource": {"text": "x"}})
    assert "broken" in said
    said = refusal(engine, "fileRead", {"path": {"content": "???"}})
    assert "not base64" in said


# ---- files --------------------------------------------------------------------------------------

UPLOADS = [
    {"name": "a.txt", "content": encoded(b"One is here. Two is there. Three is gone.")},
    {"name": "../b.pdf", "content": encoded(samples.pdf()), "type": "application/pdf"},
    {"name": "c.html", "text": "<p>Page</p>"},
    {"name": "d.json", "text": '{"k": "value"}'},
    {"name": "e.csv", "text": "k,v\n1,2"},
    {"name": "f.png", "content": encoded(b"\x89PNG")},
    {"name": "broken.pdf", "content": encoded(b"%PDF-broken")},
]


def test_uploads_are_kept_read_and_cut_into_passages(engine):
    config = {"inputVariable": "docs", "chunkSize": 60, "chunkOverlap": 20, "outputVariable": "o"}
    run_id, found = one(engine, "files", config, docs=UPLOADS)
    found = found["o"]
    assert found["fileCount"] == 7
    assert [each["name"] for each in found["files"]] == [
        "a.txt", "b.pdf", "c.html", "d.json", "e.csv", "f.png", "broken.pdf",
    ]  # fmt: skip
    assert "content" not in found["files"][0]
    assert found["combinedText"] == (
        "One is here. Two is there. Three is gone.\n\nword\n\nPage\n\nvalue\n\n"
        "Headers: k, v\nk: 1, v: 2"
    )
    assert found["totalChunkCount"] == len(found["allChunks"]) == 5
    assert [each["index"] for each in found["allChunks"]] == [0, 1, 2, 3, 4]
    assert "broken" in found["files"][6]["error"]
    assert files.read(run_id, found["files"][1]["path"])[1] == samples.pdf()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"required": True, "inputName": "none"}, "has no file"),
        ({"allowedTypes": ["pdf"]}, "not of an allowed type"),
        ({"acceptedTypes": ".pdf, image/*"}, "not of an allowed type"),
        ({"multiple": False}, "2 files were given; one may be"),
    ],
)
def test_files_that_may_not_come_are_refused(config, message, engine):
    given = [{"name": "a.txt", "text": "x"}, {"name": "b.pdf", "text": "x"}]
    assert message in refusal(engine, "files", {"inputName": "docs", **config}, docs=given)


def test_no_files_are_no_error_unless_required(engine):
    _, found = one(engine, "files", {"inputName": "docs"})
    assert (found["fileCount"], found["combinedText"]) == (0, "")


def test_passages_that_hardly_move_on_are_refused(engine):
    with pytest.raises(InvalidDefinition, match="not less than chunkSize"):
        from executions.tests.nodes.calls import call

        call("files", {"chunkSize": 100, "chunkOverlap": 100})
    text = "Ab. " * 50_000
    config = {"inputName": "docs", "chunkSize": 20_000, "chunkOverlap": 19_990}
    said = refusal(engine, "files", config, docs=[{"name": "a.txt", "text": text}])
    assert "make chunkOverlap smaller" in said


def test_passages_end_with_sentences_and_overlap():
    found = list(split("Aaaa aaaa. Bbbb bbbb. Cccc cccc.", size=22, overlap=12))
    assert [each.text for each in found] == ["Aaaa aaaa. Bbbb bbbb.", "Bbbb bbbb. Cccc cccc."]
    assert [(each.start, each.end, each.sentences) for each in found] == [(0, 21, 2), (11, 32, 2)]
    found = list(split("Mr. Fox, e.g. the red one, ran. Why? " + "x" * 50, size=30, overlap=0))
    assert [each.text for each in found] == [
        "Mr. Fox, e.g. the red one, ran.", "Why?", "x" * 50,
    ]  # fmt: skip
    assert list(split(" \n ", size=10, overlap=0)) == []


def test_a_fork_reads_the_files_of_the_steps_it_took_over(engine):
    first, _ = ran(
        engine,
        {
            "w": ("fileWrite", {"path": "x.txt", "content": "kept"}),
            "r": ("fileRead", {"path": "{{w}}"}),
        },
        "w>r",
    )
    fork = runs.replay(first, from_step="r/run").id
    files.write(first, "x.txt", b"changed since")
    found = engine.result(fork)["nodes"]
    assert found["r"]["output"]["content"] == "kept"
    assert found["r"]["output"]["runId"] == fork


@pytest.mark.parametrize(
    "text", ["." * 300_000, "mr. " * 75_000, ". " * 100_000, "a! " * 100_000, "x" * 300_000]
)
def test_text_made_to_be_slow_is_cut_in_time(text):
    begun = time.monotonic()
    assert sum(len(each.text) for each in split(text, size=1_000, overlap=200)) > 0
    assert time.monotonic() - begun < 5
