"""The circumstances of the figures: cores, load, the disk's flush, the database's durability."""

import os
import platform
import time
from pathlib import Path
from statistics import median

from benchmarks.postgres import Postgres


class NotDurable(RuntimeError):
    """The database would answer before its log is on disk; such figures say nothing."""


def require_durability(postgres: Postgres) -> None:
    """Raise NotDurable unless fsync and synchronous_commit are on."""
    for name in ("fsync", "synchronous_commit"):
        if (value := postgres.setting(name)) != "on":
            raise NotDurable(f"PostgreSQL runs with {name}={value}; the bench needs on.")


def flush_milliseconds(directory: Path, *, samples: int = 200) -> float:
    """Median of one 8 KiB write and fdatasync in that directory."""
    path = directory / "flush.probe"
    spent = []
    with path.open("wb", buffering=0) as file:
        file.write(bytes(8192 * samples))
        os.fsync(file.fileno())
        for number in range(samples):
            os.pwrite(file.fileno(), b"x" * 8192, number * 8192)
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            spent.append(time.perf_counter() - started)
    path.unlink()
    return 1000 * median(spent)


def facts(postgres: Postgres, directory: Path) -> dict[str, str]:
    """What a reader needs to compare figures of two machines."""
    return {
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "postgresql": postgres.setting("server_version"),
        "fsync": postgres.setting("fsync"),
        "synchronous_commit": postgres.setting("synchronous_commit"),
        "wal_sync_method": postgres.setting("wal_sync_method"),
        "fdatasync_ms": f"{flush_milliseconds(directory):.2f}",
    }
