"""Settings from the environment: read, checked, refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from flowmaestro import env, secret_files
from flowmaestro.options import Options

ROOT = Path(__file__).resolve().parents[2]


def test_an_unset_or_empty_variable_gives_the_default(monkeypatch):
    monkeypatch.setenv("FLOWMAESTRO_X", "  ")
    assert env.integer("FLOWMAESTRO_X", 7) == 7
    assert env.number("FLOWMAESTRO_X", 1.5) == 1.5
    assert env.boolean("FLOWMAESTRO_X", True) is True
    assert env.listing("FLOWMAESTRO_X", ("a",)) == ("a",)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda name: env.integer(name, 1, minimum=1), "0"),
        (lambda name: env.integer(name, 1, maximum=10), "11"),
        (lambda name: env.integer(name, 1), "many"),
        (lambda name: env.number(name, 1.0), "inf"),
        (lambda name: env.number(name, 1.0), "nan"),
        (lambda name: env.boolean(name, False), "maybe"),
        (lambda name: env.text(name, choices=("a", "b")), "c"),
        (env.database, "mysql://localhost/x"),
        (env.database, "postgresql://localhost"),
        (env.database, "postgresql://localhost:port/x"),
    ],
)
def test_a_bad_value_names_its_variable(monkeypatch, read, value):
    monkeypatch.setenv("FLOWMAESTRO_X", value)
    with pytest.raises(ImproperlyConfigured, match="FLOWMAESTRO_X"):
        read("FLOWMAESTRO_X")


def test_a_secret_may_come_from_a_file(monkeypatch, tmp_path):
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    monkeypatch.setenv("FLOWMAESTRO_X_FILE", str(file))
    assert env.secret("FLOWMAESTRO_X") == "s3cret"
    monkeypatch.setenv("FLOWMAESTRO_X", "other")
    with pytest.raises(ImproperlyConfigured, match="both set"):
        env.secret("FLOWMAESTRO_X")


@pytest.mark.parametrize("content", [None, ""])
def test_a_secret_file_that_is_missing_or_empty_is_refused(monkeypatch, tmp_path, content):
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("FLOWMAESTRO_X_FILE", str(file))
    with pytest.raises(ImproperlyConfigured, match="FLOWMAESTRO_X_FILE"):
        env.secret("FLOWMAESTRO_X")


def test_a_database_url_is_taken_apart(monkeypatch):
    url = "postgresql://ada:p%40ss@db.example:6432/flows?sslmode=require"
    monkeypatch.setenv("FLOWMAESTRO_X", url)
    assert env.database("FLOWMAESTRO_X") == {
        "NAME": "flows",
        "USER": "ada",
        "PASSWORD": "p@ss",
        "HOST": "db.example",
        "PORT": "6432",
        "OPTIONS": {"sslmode": "require"},
    }


def test_a_database_url_may_name_a_socket_directory(monkeypatch):
    monkeypatch.setenv("FLOWMAESTRO_X", "postgresql://postgres@/flows?host=/run/postgresql")
    found = env.database("FLOWMAESTRO_X") or {}
    assert (found["HOST"], found["OPTIONS"]) == ("/run/postgresql", {})


def test_a_bad_database_url_is_not_repeated_in_the_error(monkeypatch):
    monkeypatch.setenv("FLOWMAESTRO_X", "postgresql://ada:hunter2@db")
    with pytest.raises(ImproperlyConfigured) as caught:
        env.database("FLOWMAESTRO_X")
    assert "hunter2" not in str(caught.value)


def test_options_are_read_by_the_type_of_their_default(monkeypatch):
    monkeypatch.setenv("FLOWMAESTRO_LEASE_SECONDS", "2.5")
    monkeypatch.setenv("FLOWMAESTRO_WORKERS", "3")
    monkeypatch.setenv("FLOWMAESTRO_DEBUG_RUNS", "yes")
    monkeypatch.setenv("FLOWMAESTRO_OUTBOUND_ALLOW_PRIVATE", "localhost:8000, 10.0.0.0/8")
    options = Options.from_env(Path("/data"))
    assert (options.LEASE_SECONDS, options.WORKERS, options.DEBUG_RUNS) == (2.5, 3, True)
    assert options.OUTBOUND_ALLOW_PRIVATE == ("localhost:8000", "10.0.0.0/8")
    assert options.STALL_LIMIT == 3


def test_the_secret_key_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    path = tmp_path / "data" / "secret_key"
    key = secret_files.load_or_create(path)
    assert len(key) >= 50
    assert secret_files.load_or_create(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secret_key"]


def test_a_bad_setting_ends_a_command_with_one_sentence():
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={**os.environ, "FLOWMAESTRO_WORKERS": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "FLOWMAESTRO_WORKERS is 'none'" in done.stderr
    assert "Traceback" not in done.stderr
