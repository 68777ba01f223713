"""The processes behind programs: many at once, dying, being cancelled, and leaving nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from executions.sandbox import helper, programs
from executions.sandbox.nursery import EVALUATORS
from executions.sandbox.programs import Program, ProgramError, ProgramTimeout, SandboxLost
from executions.tests.sandbox.running import javascript, outcome, python

# Spares of each language, one of which has an interpreter's process besides.
MOST = (len(EVALUATORS) + 1) * helper.SPARES
ENDLESS = Program(language="javascript", code="while (true) {}", seconds=30)


def nursery():
    pid = helper.process_id()
    assert pid is not None
    return psutil.Process(pid)


async def until(condition, *, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "The condition never held."
        await asyncio.sleep(0.02)


def busy():
    """The processes that run a program: what is a spare waits for its socket."""
    found = []
    for child in nursery().children():
        try:
            if child.cpu_times().user > 0.2:
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def test_fifty_programs_at_once_each_get_their_own_value():
    async def all_of_them():
        asked = [
            programs.run(
                Program(
                    language="javascript" if n % 5 else "python",
                    code="return n * 2",
                    names={"n": n},
                )
            )
            for n in range(50)
        ]
        return [found.value for found in await asyncio.gather(*asked)]

    assert asyncio.run(all_of_them()) == [n * 2 for n in range(50)]


def test_a_program_that_dies_takes_no_other_with_it():
    async def together():
        doomed = asyncio.create_task(programs.run(ENDLESS))
        await until(busy)
        others = [
            asyncio.create_task(
                programs.run(
                    Program(
                        language="javascript",
                        code="await new Promise(go => setTimeout(go, 300)); return n",
                        names={"n": n},
                    )
                )
            )
            for n in range(3)
        ]
        await asyncio.sleep(0.1)
        os.kill(max(busy(), key=lambda child: child.cpu_times().user).pid, signal.SIGSEGV)
        values = [found.value for found in await asyncio.gather(*others)]
        with pytest.raises(ProgramError, match="broke its engine"):
            await doomed
        return values

    assert asyncio.run(together()) == [0, 1, 2]


def test_the_loop_goes_on_while_programs_run():
    async def beats():
        work = [
            asyncio.create_task(
                programs.run(Program(language="javascript", code=code, seconds=0.4))
            )
            for code in ("while (true) {}", "return /(a+)+$/.test('a'.repeat(40) + 'b')")
        ]
        count = 0
        while not all(task.done() for task in work):
            await asyncio.sleep(0.01)
            count += 1
        found = await asyncio.gather(*work, return_exceptions=True)
        return count, found

    count, found = asyncio.run(beats())
    assert count > 10
    assert all(isinstance(error, ProgramTimeout) for error in found)


def test_a_cancelled_program_is_killed():
    async def cancel():
        task = asyncio.create_task(programs.run(ENDLESS))
        await until(busy)
        pids = {child.pid for child in busy()}
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not any(psutil.pid_exists(pid) for pid in pids))
        return pids

    assert asyncio.run(cancel())


def test_the_nursery_is_started_anew_when_it_died():
    async def through_its_death():
        lost = asyncio.create_task(programs.run(ENDLESS))
        await until(busy)
        family = [nursery(), *nursery().children(recursive=True)]
        family[0].kill()
        with pytest.raises(SandboxLost):
            await lost
        await until(lambda: not any(map(psutil.Process.is_running, family[1:])))

    javascript("return 1")
    asyncio.run(through_its_death())
    assert javascript("return 2") == 2


def test_a_spare_that_died_is_replaced_unnoticed():
    assert javascript("return 1") == 1
    for child in nursery().children():
        child.kill()
    assert [javascript("return 3") for _ in range(3)] == [3, 3, 3]


def test_no_zombie_and_no_busy_process_is_left():
    assert (javascript("return 1"), python("return 1")) == (1, 1)
    with pytest.raises(ProgramTimeout):
        python("while True: pass", seconds=0.2)

    def quiet():
        states = [child.status() for child in nursery().children(recursive=True)]
        return psutil.STATUS_ZOMBIE not in states and len(states) <= MOST

    asyncio.run(until(quiet))
    assert quiet()


def test_processes_have_no_environment_and_no_files_of_the_worker(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_OF_THE_WORKER", "visible")
    held = (tmp_path / "held").open("w")
    helper.stop()
    assert javascript("return 1") == 1
    looked_at = 0
    for process in (nursery(), *nursery().children(recursive=True)):
        # The process of the program itself may just be ending.
        with contextlib.suppress(psutil.NoSuchProcess):
            assert "SECRET_OF_THE_WORKER" not in process.environ()
            assert [file.path for file in process.open_files()] in (
                [],
                [f"/proc/{process.pid}/status"],
            )
            looked_at += 1
    assert looked_at
    held.close()


def test_a_warm_program_takes_milliseconds():
    async def times():
        taken = []
        for _ in range(20):
            begun = time.perf_counter()
            await programs.run(Program(language="javascript", code="return 1 + 1"))
            taken.append(time.perf_counter() - begun)
            await asyncio.sleep(0.05)
        return taken

    javascript("return 1")
    # A bound that holds on a busy machine; alone it is about 3 ms.
    assert min(asyncio.run(times())) < 0.1


def test_programs_run_without_a_loop_and_inside_one():
    program = Program(language="javascript", code="return 1")

    async def inside():
        return programs.run_blocking(program).value

    assert programs.run_blocking(program).value == 1
    assert asyncio.run(inside()) == 1


WORKER = """
import asyncio, os, sys
sys.path.insert(0, {root!r})
from executions.sandbox import helper, programs
from executions.sandbox.programs import Program
asyncio.run(programs.run(Program(language="python", code="return 1")))
asyncio.run(programs.run(Program(language="javascript", code="return 1")))
first = helper.process_id()
child = os.fork()
if child == 0:
    found = asyncio.run(programs.run(Program(language="javascript", code="return 2")))
    own = helper.process_id() != first and found.value == 2
    helper.stop()
    os._exit(0 if own else 1)
print(first, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
asyncio.run(programs.run(Program(language={language!r}, code={code!r}, seconds=60)))
"""


@pytest.mark.parametrize(
    ("language", "code"),
    [("javascript", "while (true) {}"), ("python", "while True: pass")],
)
def test_all_processes_end_with_the_worker(language, code):
    root = str(Path(programs.__file__).parents[2])
    script = WORKER.format(root=root, language=language, code=code)
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    first, forked = map(int, worker.stdout.readline().split())
    assert forked == 0, "A forked worker has a nursery of its own."
    helper_process = psutil.Process(first)
    family = [helper_process, *helper_process.children(recursive=True)]
    assert len(family) > 1
    worker.kill()
    worker.wait()
    worker.stdout.close()
    asyncio.run(until(lambda: not any(map(psutil.Process.is_running, family))))
    assert not helper_process.is_running()


def test_a_broken_installation_is_named(monkeypatch):
    monkeypatch.setattr(helper, "_PROGRAM", "raise SystemExit(1)")
    helper.stop()
    try:
        with pytest.raises(SandboxLost, match="does not start"):
            outcome("javascript", "return 1")
    finally:
        monkeypatch.undo()
        helper.stop()
    assert javascript("return 1") == 1
