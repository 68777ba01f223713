"""The master keys from the environment: read in order, refused without repeating them."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from flowmaestro import encryption_keys

ROOT = Path(__file__).resolve().parents[2]
NEW, OLD = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))


def test_the_first_key_is_the_current_one(monkeypatch, tmp_path):
    monkeypatch.setenv("FLOWMAESTRO_ENCRYPTION_KEYS", f"new:{NEW}, old:{OLD}")
    assert encryption_keys.load(tmp_path) == (("new", b"\1" * 32), ("old", b"\2" * 32))
    assert not (tmp_path / "encryption_key").exists()


def test_keys_may_come_from_a_file(monkeypatch, tmp_path):
    file = tmp_path / "keys"
    file.write_text(f"new:{NEW}\n")
    monkeypatch.setenv("FLOWMAESTRO_ENCRYPTION_KEYS_FILE", str(file))
    assert encryption_keys.load(tmp_path / "data") == (("new", b"\1" * 32),)


def test_without_one_a_key_is_made_once_that_only_its_owner_may_read(tmp_path):
    first = encryption_keys.load(tmp_path)
    assert encryption_keys.load(tmp_path) == first
    ((name, key),) = first
    assert name.startswith("local-")
    assert len(key) == 32
    assert (tmp_path / "encryption_key").stat().st_mode & 0o777 == 0o600


def test_the_key_made_once_still_opens_after_others_are_given(monkeypatch, tmp_path):
    own = encryption_keys.load(tmp_path)
    monkeypatch.setenv("FLOWMAESTRO_ENCRYPTION_KEYS", f"new:{NEW}")
    assert encryption_keys.load(tmp_path) == (("new", b"\1" * 32), *own)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NEW, "number 1 is not an id"),
        ("new:!!!", "is not base64"),
        (f"new:{NEW},old:c2hvcnQ=", "number 2 has 5 bytes"),
        (f"new:{NEW},new:{OLD}", "the id of an earlier one"),
        (f"a b:{NEW}", "is not an id"),
    ],
)
def test_a_bad_value_is_named_but_not_repeated(monkeypatch, tmp_path, text, said):
    monkeypatch.setenv("FLOWMAESTRO_ENCRYPTION_KEYS", text)
    with pytest.raises(ImproperlyConfigured, match="FLOWMAESTRO_ENCRYPTION_KEYS") as caught:
        encryption_keys.load(tmp_path)
    assert said in str(caught.value)
    assert NEW not in str(caught.value)
    assert OLD not in str(caught.value)


def test_a_bad_value_stops_the_start(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "import flowmaestro.settings"],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "FLOWMAESTRO_DATA_DIR": str(tmp_path),
             "FLOWMAESTRO_ENCRYPTION_KEYS": "new:hunter2"},
    )  # fmt: skip
    assert done.returncode != 0
    assert "FLOWMAESTRO_ENCRYPTION_KEYS" in done.stderr
    assert "hunter2" not in done.stderr
