"""Test set-up: every test of a session shares one embedded PostgreSQL in a temporary directory.

It starts when the first test asks for a database. With FLOWMAESTRO_DATABASE_URL set, tests use that
server instead. The environment is prepared here because settings read it when they are imported.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import django
import pytest

pytest_plugins = ["executions.testing.plugin"]

DATA_DIR = Path(tempfile.mkdtemp(prefix="fm-test-"))
# A developer's own settings must not decide what tests see.
for _name in [name for name in os.environ if name.startswith("FLOWMAESTRO_")]:
    if _name not in ("FLOWMAESTRO_DATABASE_URL", "FLOWMAESTRO_POSTGRES_VERSION"):
        del os.environ[_name]
os.environ["FLOWMAESTRO_DATA_DIR"] = str(DATA_DIR)
os.environ["FLOWMAESTRO_SECRET_KEY"] = "only-for-tests-" + "0123456789" * 5
# Tests are faster than people; those about limits set them.
for _name in ("KEY", "ADDRESS", "WEBHOOK", "LOGIN"):
    os.environ[f"FLOWMAESTRO_RATE_LIMIT_{_name}"] = "0"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flowmaestro.settings")


# Here and not in a hook: the conftest files of the apps import models when they are loaded.
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.hashers import PBKDF2PasswordHasher  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import TransactionTestCase  # noqa: E402


class QuickHasher(PBKDF2PasswordHasher):
    """A password that any server checks, made in no time: tests make many people."""

    iterations = 1


settings.PASSWORD_HASHERS = [f"{__name__}.QuickHasher", *settings.PASSWORD_HASHERS]
# Else each client of a test looks through every static file.
settings.WHITENOISE_AUTOREFRESH = True


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Test processes that this one starts must not read settings before their own conftest."""
    if getattr(session.config.option, "numprocesses", None):
        del os.environ["DJANGO_SETTINGS_MODULE"]


def pytest_unconfigure() -> None:
    """Remove the session's data directory."""
    shutil.rmtree(DATA_DIR, ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> Iterator[None]:
    """Start the embedded server before pytest-django creates the test database in it."""
    from django.conf import settings

    from flowmaestro import embedded

    if not settings.EMBEDDED_DATABASE:
        yield
        return
    # What is lost with the machine's power is of no use after a test run; a flush per commit would
    # only make the tests slower. Whoever measures or kills starts a server of its own.
    with embedded.running(DATA_DIR, {"fsync": "off", "full_page_writes": "off"}):
        yield


# What migrations put there: the same for every test.
_KEPT = (
    "django_migrations", "django_content_type", "auth_permission", "auth_group",
    "auth_group_permissions",
)  # fmt: skip


def _empty_tables(self: TransactionTestCase) -> None:
    """Empties what a test has filled.

    Django truncates every table and makes permissions and groups anew, which takes longer than
    most tests.
    """
    with connection.cursor() as cursor:
        tables = [
            table
            for table in connection.introspection.django_table_names(only_existing=True)
            if table not in _KEPT
        ]
        deletes = "; ".join(f'DELETE FROM "{table}"' for table in tables)
        # Without the triggers of foreign keys, and those that refuse to delete.
        cursor.execute(
            f"SET session_replication_role = replica; {deletes}; RESET session_replication_role"
        )


TransactionTestCase._fixture_teardown = _empty_tables  # type: ignore[method-assign]


@pytest.fixture
def database_url(transactional_db: None) -> str:
    """The test database's URL, for processes that a test starts: FLOWMAESTRO_DATABASE_URL."""
    where = connection.settings_dict
    user = quote(where["USER"], safe="")
    if where["PASSWORD"]:
        user += ":" + quote(where["PASSWORD"], safe="")
    host = quote(where["HOST"], safe="")
    return f"postgresql://{user}@/{where['NAME']}?host={host}&port={where['PORT'] or 5432}"
