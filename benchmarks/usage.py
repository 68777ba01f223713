"""Memory and processor time of running processes, read from Linux's /proc.

Needs the standard library alone, like all that a peer's environment imports.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
MIB = 1024.0
"""/proc counts in KiB."""
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Memory:
    """MiB: `private` belongs to these processes alone, `shared_fairly` adds their part of the rest.

    These are what Linux calls USS and PSS.
    """

    private: float = 0.0
    shared_fairly: float = 0.0

    def __add__(self, other: "Memory") -> "Memory":
        """Both together."""
        return Memory(
            private=self.private + other.private,
            shared_fairly=self.shared_fairly + other.shared_fairly,
        )


def descendants(pid: int) -> list[int]:
    """The processes below that one, without it."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def parent(pid: int) -> int:
    """The process that started it."""
    return int(_stat(pid)[1])


def memory(pids: Iterable[int]) -> Memory:
    """What they take together; a process that has ended meanwhile takes nothing."""
    return sum((_memory_of(pid) for pid in pids), Memory())


def _memory_of(pid: int) -> Memory:
    try:
        text = (PROC / str(pid) / "smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return Memory()
    sizes = {name: int(size) for name, size in re.findall(r"^(\w+): +(\d+) kB", text, re.M)}
    private = sizes.get("Private_Clean", 0) + sizes.get("Private_Dirty", 0)
    return Memory(private=private / MIB, shared_fairly=sizes.get("Pss", 0) / MIB)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Processor time that they have used so far."""
    fields = [_stat(pid) for pid in pids]
    ticks = sum(int(each[11]) + int(each[12]) for each in fields if each)
    return ticks / TICKS_PER_SECOND


def command(pid: int) -> str:
    """The name that a process goes by; empty when it has ended."""
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _stat(pid: int) -> list[str]:
    """The fields after the name, which may hold anything: state, parent, …"""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()
