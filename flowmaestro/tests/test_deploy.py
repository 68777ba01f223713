"""Production settings: the deploy check has nothing to say; https, cookies, headers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = {
    "FLOWMAESTRO_PUBLIC_URL": "https://flows.example.com",
    "FLOWMAESTRO_SECRET_KEY": "made-for-this-test-" + "0123456789abcdef" * 4,
}
SHOW = """
import json
import django
django.setup()
from django.conf import settings
from django.test import Client
answers = {}
for name, asked in {
    "proxied": {"HTTP_HOST": "flows.example.com", "HTTP_X_FORWARDED_PROTO": "https"},
    "plain": {"HTTP_HOST": "flows.example.com"},
    "own": {"HTTP_HOST": f"127.0.0.1:{settings.PORT}"},
    "foreign": {"HTTP_HOST": "evil.example"},
}.items():
    answer = Client().get("/admin/login/", **asked)
    answers[name] = {
        "status": answer.status_code,
        "headers": {key: value for key, value in answer.headers.items()},
        "cookies": {key: dict(value.items()) for key, value in answer.cookies.items()},
    }
answers["health"] = {"status": Client().get("/healthz", HTTP_HOST="flows.example.com").status_code}
print(json.dumps(answers))
"""


def run(tmp_path, *command, **extra):
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLOWMAESTRO_")}
    env |= {"FLOWMAESTRO_DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "flowmaestro.settings"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT, env=env | extra, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("more", [{}, {"FLOWMAESTRO_CORS_ORIGINS": "https://app.example.com"}])
def test_the_deploy_check_has_nothing_to_say(tmp_path, more):
    done = run(
        tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING",
        **PRODUCTION, **more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout + done.stderr


def test_without_a_key_of_ones_own_a_random_one_is_made_and_kept(tmp_path):
    env = {"FLOWMAESTRO_PUBLIC_URL": "https://flows.example.com"}
    for _ in range(2):
        done = run(tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING", **env)
        assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob("secret_key")
    assert len(made.read_text().strip()) >= 50
    assert made.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("FLOWMAESTRO_CORS_ORIGINS", "*", "CORS_ORIGINS"),
        ("FLOWMAESTRO_TRUSTED_PROXIES", "proxy", "TRUSTED_PROXIES"),
        ("FLOWMAESTRO_RATE_LIMIT_KEY", "-1", "RATE_LIMIT_KEY"),
        ("FLOWMAESTRO_WEB_THREADS", "0", "WEB_THREADS"),
        ("FLOWMAESTRO_HSTS_SECONDS", "soon", "HSTS_SECONDS"),
    ],
)
def test_a_bad_value_stops_the_start_and_is_named(tmp_path, name, value, word):
    done = run(tmp_path, "manage.py", "check", **PRODUCTION, **{name: value})
    assert done.returncode != 0
    assert word in done.stderr


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"FLOWMAESTRO_DEBUG": "on"}, "security.W018"),
        ({"FLOWMAESTRO_SECRET_KEY": "short"}, "security.W009"),
        ({"FLOWMAESTRO_HOST": "0.0.0.0"}, "flowmaestro.W005"),
        ({"FLOWMAESTRO_PUBLIC_URL": "http://flows.example.com"}, "flowmaestro.W006"),
        ({"FLOWMAESTRO_RATE_LIMIT_LOGIN": "0"}, "flowmaestro.W007"),
        ({"FLOWMAESTRO_CORS_ORIGINS": "http://app.example.com"}, "flowmaestro.W008"),
    ],
)
def test_the_deploy_check_warns_of_what_does_not_go_together(tmp_path, more, word):
    done = run(tmp_path, "manage.py", "check", "--deploy", **PRODUCTION | more)
    assert done.returncode == 0, done.stderr
    assert word in done.stderr


def test_a_proxy_that_is_named_needs_no_warning(tmp_path):
    done = run(
        tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING",
        **PRODUCTION, FLOWMAESTRO_HOST="0.0.0.0", FLOWMAESTRO_TRUSTED_PROXIES="10.0.0.0/8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_https_is_asked_for_and_remembered_and_cookies_stay_on_it(tmp_path):
    done = run(tmp_path, "-c", SHOW, **PRODUCTION)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout.strip().splitlines()[-1])
    headers = seen["proxied"]["headers"]
    assert seen["proxied"]["status"] == 200
    assert headers["Strict-Transport-Security"] == "max-age=2592000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    csrf = seen["proxied"]["cookies"]["csrftoken"]
    assert (csrf["secure"], csrf["samesite"]) == (True, "Lax")
    assert seen["plain"]["status"] == 301
    assert seen["plain"]["headers"]["Location"].startswith("https://flows.example.com/")
    assert seen["foreign"]["status"] == 400
    # A workflow that calls its own installation, and whoever asks for its health, stay on http.
    assert seen["own"]["status"] == 200
    assert seen["health"]["status"] in (200, 503)


@pytest.mark.django_db
def test_our_pages_run_no_script_that_is_not_ours():
    answer = Client().get("/nowhere")
    policy = answer["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "script-src" not in policy
    assert "'unsafe-eval'" in Client().get("/admin/login/")["Content-Security-Policy"]
