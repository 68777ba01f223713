"""The built-in node types in a process that has just begun, as the first requests find them."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import threading
import django
django.setup()
from executions import nodes

found, at_once = [], threading.Barrier(16)

def ask():
    at_once.wait()
    found.append(all(nodes.find(name) for name in ("transform", "wait", "loop", "output")))

threads = [threading.Thread(target=ask) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(found.count(True))
"""


def test_requests_that_come_at_once_all_find_every_type():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.strip(), done.returncode) == ("16", 0), done.stderr
