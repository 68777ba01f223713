"""The engine's settings, as apps read them: `settings.FLOWMAESTRO.LEASE_SECONDS`.

Each field is read from the environment variable FLOWMAESTRO_<field>.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from flowmaestro import env

KB = 1024
MB = 1024 * KB


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What tunes the engine. Durations are seconds, sizes bytes."""

    DATA_DIR: Path
    WORKERS: int = 2
    """Worker processes of this host's cluster."""
    WORKER_CONCURRENCY: int = 100
    """Runs that one worker process has in hand at once."""
    WORKER_THREADS: int = 20
    """Threads of one worker process for plain functions."""
    LEASE_SECONDS: float = 30.0
    """A worker unseen for this long loses its runs to others."""
    STALL_LIMIT: int = 3
    """A run whose worker died this often without progress is CRASHED."""
    GRACE_SECONDS: float = 5.0
    """What a stopping worker has to finish or park its runs before it releases them."""
    RETRY_MAX_ATTEMPTS: int = 3
    RETRY_FACTOR: float = 2.0
    RETRY_MIN_SECONDS: float = 1.0
    RETRY_MAX_SECONDS: float = 60.0
    PAYLOAD_LIMIT: int = 3 * MB
    OUTPUT_LIMIT: int = 10 * MB
    METADATA_LIMIT: int = 256 * KB
    ERROR_LIMIT: int = 64 * KB
    BATCH_LIMIT: int = 1000
    """Runs that one batch may start."""
    WAITING_REQUESTS: int = 200
    """Requests of one web process that may wait for their run at once; further ones do not."""
    TASK_MODULES: tuple[str, ...] = ()
    """Modules beside the apps' own `tasks` that register tasks."""
    TEMPLATE_ENV: tuple[str, ...] = ()
    """Environment variables that `{{env.NAME}}` in a workflow may read."""
    OUTBOUND_ALLOW_PRIVATE: tuple[str, ...] = ()
    """Private hosts (`10.0.0.7`, `localhost:8000`) and networks that outbound HTTP may reach."""
    FILE_LIMIT: int = 50 * MB
    """One file of a run."""
    RUN_FILES_LIMIT: int = 200 * MB
    """All files of a run together."""
    RUN_FILES_COUNT: int = 1000
    RETENTION_DAYS: int = 30
    """Runs that were completed, cancelled or expired so long ago are removed."""
    RETENTION_FAILED_DAYS: int = 90
    """The same for runs that failed, crashed or ran out of time."""
    WEBHOOK_LOG_DAYS: int = 14
    """Requests to webhooks are kept in their log for so long."""
    WEBHOOK_ONCE_DAYS: int = 30
    """A delivery or an event that comes again within this time starts nothing more."""
    WEB_THREADS: int = 8
    """Requests that the web server computes at a time, each on a connection of its own."""
    RATE_LIMIT_KEY: int = 1500
    """Requests a minute of one API key, public token or signed-in user; 0 is no limit."""
    RATE_LIMIT_ADDRESS: int = 300
    """Requests a minute of one address that do not say who calls, or say it wrongly."""
    RATE_LIMIT_WEBHOOK: int = 1500
    """Requests a minute to one webhook."""
    RATE_LIMIT_LOGIN: int = 10
    """Attempts a minute to sign in to one account from one address."""
    RATE_LIMIT_BURST_SECONDS: float = 30.0
    """How much of that may come at once: so many seconds' worth."""
    TRUSTED_PROXIES: tuple[str, ...] = ()
    """Addresses and networks whose X-Forwarded-For says where a request comes from."""
    DEBUG_RUNS: bool = False
    """Warn when a task waits outside its context."""

    @classmethod
    def from_env(cls, data_dir: Path) -> Options:
        """The options with every FLOWMAESTRO_<field> that is set."""
        values: dict[str, object] = {"DATA_DIR": data_dir}
        for field in fields(cls):
            if field.name != "DATA_DIR":
                values[field.name] = _read(field.name, field.default)
        return cls(**values)  # type: ignore[arg-type]


def _read(field: str, default: object) -> object:
    """One option, read as the type that its default has."""
    name = f"FLOWMAESTRO_{field}"
    if isinstance(default, bool):
        return env.boolean(name, default)
    if isinstance(default, int):
        # Only a rate has a use for zero: no limit.
        return env.integer(name, default, minimum=0 if field.startswith("RATE_LIMIT_") else 1)
    if isinstance(default, float):
        # Intervals that must pass in a moment for tests may be short, but none may be zero or less.
        return env.number(name, default, minimum=0.05)
    return env.listing(name)
