"""Start-up checks: of the database (`manage.py check --database default`, and `up` by itself), and
of settings that do not go together (`manage.py check --deploy`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connections

LOWEST_POSTGRESQL = 160000
LOWEST_PGVECTOR = (0, 8)


@register(Tags.database)
def check_database(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Errors for each database that is unreachable, too old, or without pgvector."""
    return [error for alias in databases or () for error in _errors_of(alias)]


def _errors_of(alias: str) -> list[CheckMessage]:
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version_num')::int")
            version: int = cursor.fetchone()[0]
            cursor.execute(
                "SELECT coalesce(installed_version, default_version)"
                " FROM pg_available_extensions WHERE name = 'vector'"
            )
            row = cursor.fetchone()
    except DatabaseError as error:
        reason = str(error).strip().splitlines()[0]
        hint = "`manage.py up` starts the embedded one; FLOWMAESTRO_DATABASE_URL names another."
        return [_error(1, f"The database does not answer: {reason}", hint)]
    return [*_version_errors(version), *_vector_errors(row[0] if row else None)]


def _version_errors(version: int) -> list[CheckMessage]:
    if version >= LOWEST_POSTGRESQL:
        return []
    found = f"{version // 10000}.{version % 10000}"
    return [_error(2, f"The database is PostgreSQL {found}; 16 or newer is needed.")]


def _vector_errors(version: str | None) -> list[CheckMessage]:
    if version is None:
        return [_error(3, "The database server has no pgvector; install version 0.8 or newer.")]
    if tuple(int(part) for part in version.split(".")[:2]) >= LOWEST_PGVECTOR:
        return []
    return [
        _error(
            4,
            f"The database has pgvector {version}; 0.8 or newer is needed.",
            "Install a newer one on the server, then: ALTER EXTENSION vector UPDATE;",
        )
    ]


def _error(number: int, message: str, hint: str | None = None) -> Error:
    return Error(message, hint=hint, id=f"flowmaestro.E00{number}")


# ---- settings -----------------------------------------------------------------------------------


@register(Tags.security, deploy=True)
def check_exposure(**_: Any) -> list[CheckMessage]:
    """Warnings for settings that are right by themselves, and not beside others."""
    options = settings.FLOWMAESTRO
    is_https = settings.PUBLIC_URL.startswith("https://")
    is_local = settings.HOST in ("127.0.0.1", "::1", "localhost")
    found: list[CheckMessage] = []
    if is_https and not is_local and not options.TRUSTED_PROXIES:
        found.append(
            _warning(
                5,
                f"The server listens on {settings.HOST} behind a proxy, and trusts none but one "
                "on this host: every request counts as the proxy's own.",
                "Name the proxy in FLOWMAESTRO_TRUSTED_PROXIES.",
            )
        )
    if not is_https:
        found.append(
            _warning(
                6,
                "FLOWMAESTRO_PUBLIC_URL is not https: passwords and keys travel in the open.",
                "Put a proxy with a certificate in front, and name its https address.",
            )
        )
    if not options.RATE_LIMIT_LOGIN or not options.RATE_LIMIT_ADDRESS:
        found.append(
            _warning(
                7,
                "Nothing limits how often passwords and keys are tried out.",
                "Set FLOWMAESTRO_RATE_LIMIT_LOGIN and FLOWMAESTRO_RATE_LIMIT_ADDRESS above 0.",
            )
        )
    plain = [origin for origin in settings.CORS_ORIGINS if origin.startswith("http://")]
    if is_https and plain:
        found.append(
            _warning(
                8,
                f"FLOWMAESTRO_CORS_ORIGINS lets {plain[0]} use sessions, which anybody on the way "
                "can pass themselves off as.",
                "List https origins only.",
            )
        )
    return found


def _warning(number: int, message: str, hint: str) -> Warning:
    return Warning(message, hint=hint, id=f"flowmaestro.W00{number}")
