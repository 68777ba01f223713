"""What the operating system does for a supervised process: a death signal and a name."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15

# Loaded here, since a forked child may not wait for the loader's lock.
_prctl: Callable[..., int] | None = (
    ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
)


def die_with_parent(parent_pid: int, signum: int = signal.SIGKILL) -> None:
    """Ask the kernel for `signum` when the parent dies, and take it at once if it is dead already.

    Called in the child, after any change of user (which clears the request). Only Linux offers it;
    elsewhere a child of a killed parent is found by whoever starts next.
    """
    if _prctl is None:
        return
    _prctl(PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signum)


def set_name(name: str) -> None:
    """Name this process in `ps -o comm` and `top`; at most 15 characters count."""
    if _prctl is not None:
        _prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def child_setup(signum: int = signal.SIGKILL) -> Callable[[], None]:
    """A `preexec_fn` for subprocess.Popen: the child dies with the process that starts it."""
    parent_pid = os.getpid()
    return lambda: die_with_parent(parent_pid, signum)
