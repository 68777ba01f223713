"""What the operating system knows of a process: its death signal, name, host and start."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

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


def host_name() -> str:
    """This machine and process namespace: within it, a process id means the same to everybody."""
    namespace = os.stat("/proc/self/ns/pid").st_ino if Path("/proc/self/ns/pid").exists() else 0
    boot = Path("/proc/sys/kernel/random/boot_id")
    identity = boot.read_text().strip()[:8] if boot.exists() else ""
    return f"{socket.gethostname()}:{identity}:{namespace}"


def process_started(pid: int) -> int:
    """When a process began, in kernel ticks since boot; 0 when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    # The command's name may hold spaces and parentheses; the fields go on behind the last one.
    return int(stat.rpartition(")")[2].split()[19])
