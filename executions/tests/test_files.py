"""Tests of a run's files: whole, bounded, inside their run, and gone with it."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection

from executions import files, runs
from executions.models import FilePiece, Run, RunFile
from executions.prune import prune
from executions.registry import task
from executions.rules.ids import new_id


@task("files-test")
async def idle(payload, ctx):
    """Do nothing."""


@pytest.fixture
def run_id(db) -> str:
    return runs.trigger("files-test").id


def limited(settings, **limits: int) -> None:
    settings.FLOWMAESTRO = dataclasses.replace(settings.FLOWMAESTRO, **limits)


def test_a_file_of_several_pieces_comes_back_as_it_was(run_id):
    data = bytes(range(256)) * 10_000
    written = files.write(run_id, "a/./b//c.pdf", data)
    assert written.as_json() == {
        "runId": run_id,
        "path": "a/b/c.pdf",
        "name": "c.pdf",
        "size": len(data),
        "mediaType": "application/pdf",
        "sha256": written.sha256,
    }
    assert files.read(run_id, "a/b/c.pdf") == (written, data)
    assert FilePiece.objects.filter(run_id=run_id).count() == 3


def test_an_empty_file_is_a_file(run_id):
    files.write(run_id, "empty.txt", b"")
    found, data = files.read(run_id, "empty.txt")
    assert (found.size, found.media_type, data) == (0, "text/plain", b"")


def test_a_file_written_again_is_replaced_whole(run_id):
    files.write(run_id, "a.bin", b"x" * (2 * files.PIECE + 1))
    files.write(run_id, "a.bin", b"short")
    assert files.read(run_id, "a.bin")[1] == b"short"
    assert FilePiece.objects.filter(run_id=run_id).count() == 1


@pytest.mark.parametrize(
    "path",
    [
        "", "  ", "/etc/passwd", "../x", "a/../../x", "a/.. /x", "..", ".", "./", "~/x", "C:/x",
        "a\\b", "a\0b", "a\nb", "\ud800", "x" * 501, "ü" * 130, 7, None,
    ],
)  # fmt: skip
def test_a_path_out_of_the_folder_is_refused(path, run_id):
    with pytest.raises(files.BadPath):
        files.write(run_id, path, b"x")
    assert RunFile.objects.count() == 0


def test_two_spellings_of_a_letter_are_one_path(run_id):
    files.write(run_id, "u\u0308.txt", b"x")
    assert files.read(run_id, "\u00fc.txt")[1] == b"x"


def test_limits_hold_for_a_file_for_all_files_and_for_their_number(run_id, settings):
    limited(settings, FILE_LIMIT=10, RUN_FILES_LIMIT=15, RUN_FILES_COUNT=2)
    with pytest.raises(files.FileTooLarge, match="over the limit of 10"):
        files.write(run_id, "a", b"x" * 11)
    files.write(run_id, "a", b"x" * 10)
    with pytest.raises(files.FileTooLarge, match="would have 16 bytes"):
        files.write(run_id, "b", b"x" * 6)
    files.write(run_id, "a", b"x" * 9)
    files.write(run_id, "b", b"x" * 6)
    with pytest.raises(files.FileTooLarge, match="as many as it may"):
        files.write(run_id, "c", b"")
    assert files.delete(run_id, "b") and not files.delete(run_id, "b")
    files.write(run_id, "c", b"")
    assert [file.path for file in files.list_files(run_id)] == ["a", "c"]


def test_reading_keeps_to_its_own_limit(run_id):
    files.write(run_id, "a", b"x" * 100)
    with pytest.raises(files.FileTooLarge, match="set for reading"):
        files.read(run_id, "a", limit=99)


def test_only_the_same_step_writes_again_what_may_not_be_overwritten(run_id):
    files.write(run_id, "a", b"1", overwrite=False, step="n/run")
    files.write(run_id, "a", b"1", overwrite=False, step="n/run")
    for step in ("m/run", ""):
        with pytest.raises(files.FileExists):
            files.write(run_id, "a", b"2", overwrite=False, step=step)
    assert files.read(run_id, "a")[1] == b"1"


def test_a_worker_that_lost_the_run_writes_nothing(run_id):
    with pytest.raises(files.RunNotHeld):
        files.write(run_id, "a", b"1", claim=str(uuid.uuid4()))
    with pytest.raises(files.RunNotHeld):
        files.write(new_id("run"), "a", b"1")
    assert RunFile.objects.count() == 0


def test_a_missing_file_is_an_error_that_names_those_there_are(run_id):
    files.write(run_id, "there.txt", b"1")
    with pytest.raises(files.NoSuchFile, match=r"no file 'a.txt'; it has 'there.txt'"):
        files.read(run_id, "a.txt")


def test_writers_at_the_same_time_keep_the_limit_together(transactional_db, settings):
    run_id = runs.trigger("files-test").id
    limited(settings, RUN_FILES_LIMIT=5_000)
    refused: list[Exception] = []

    def write(number: int) -> None:
        try:
            files.write(run_id, f"{number}", b"x" * 1_000)
        except files.FileTooLarge as error:
            refused.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert sum(file.size for file in files.list_files(run_id)) == 5_000


def test_a_reference_reaches_runs_of_the_same_tree_only(db):
    parent, stranger = runs.trigger("files-test").id, runs.trigger("files-test").id
    child = runs.trigger("files-test").id
    Run.objects.filter(pk=child).update(root_id=parent, parent_id=parent)
    assert files.holder(parent, child) == child
    assert files.holder(child, parent) == parent
    assert files.holder(parent, stranger) == parent
    assert files.holder(parent, "run_nowhere") == parent


def test_a_fork_gets_the_files_it_does_not_have(db):
    first, fork = runs.trigger("files-test").id, runs.trigger("files-test").id
    files.write(first, "a", b"old")
    files.write(first, "b", b"kept")
    files.write(fork, "a", b"new")
    files.copy(first, fork)
    assert [files.read(fork, path)[1] for path in ("a", "b")] == [b"new", b"kept"]


def test_files_go_with_their_run(run_id):
    files.write(run_id, "a", b"1")
    runs.cancel(run_id)
    prune({"CANCELED": timedelta(0)})
    assert not Run.objects.filter(pk=run_id).exists()
    assert RunFile.objects.count() == FilePiece.objects.count() == 0
