"""Every setting, grouped. Values come from the environment; all have safe defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flowmaestro import (
    __version__,
    addresses,
    embedded,
    encryption_keys,
    env,
    secret_files,
)
from flowmaestro.options import Options

BASE_DIR = Path(__file__).resolve().parent.parent

# --- Where things are -----------------------------------------------------------------------

DATA_DIR = Path(env.text("FLOWMAESTRO_DATA_DIR", ".flowmaestro"))
DATA_DIR = (DATA_DIR.expanduser() if DATA_DIR.is_absolute() else BASE_DIR / DATA_DIR).resolve()
EXAMPLES_DIR = BASE_DIR / "examples"
HOST = env.text("FLOWMAESTRO_HOST", "127.0.0.1")
PORT = env.integer("PORT", 8000, minimum=1, maximum=65535)
PUBLIC_URL = env.text("FLOWMAESTRO_PUBLIC_URL", f"http://127.0.0.1:{PORT}").rstrip("/")
if urlsplit(PUBLIC_URL).scheme not in ("http", "https") or not urlsplit(PUBLIC_URL).hostname:
    raise env.bad("FLOWMAESTRO_PUBLIC_URL", PUBLIC_URL, "an address like https://flows.example.com")

# --- Security -------------------------------------------------------------------------------

DEBUG = env.boolean("FLOWMAESTRO_DEBUG", False)
SECRET_KEY = env.secret("FLOWMAESTRO_SECRET_KEY") or secret_files.load_or_create(
    DATA_DIR / "secret_key"
)
# The first seals what is stored from now on; the others still open what they sealed.
ENCRYPTION_KEYS = encryption_keys.load(DATA_DIR)
ALLOWED_HOSTS = [
    *env.listing("FLOWMAESTRO_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]")),
    str(urlsplit(PUBLIC_URL).hostname),
]
_https = PUBLIC_URL.startswith("https://")
# Pages of these origins may use the API with the session's cookie; with a bearer, any page may.
CORS_ORIGINS = addresses.origins(
    "FLOWMAESTRO_CORS_ORIGINS", env.listing("FLOWMAESTRO_CORS_ORIGINS")
)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL, *CORS_ORIGINS]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
SECURE_SSL_REDIRECT = _https
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
# Workflows call the installation they run in by these, past the proxy that has the certificate.
OWN_HOSTS = frozenset(f"{host}:{PORT}" for host in ("127.0.0.1", "localhost"))
SECURE_HSTS_SECONDS = (
    env.integer("FLOWMAESTRO_HSTS_SECONDS", 30 * 24 * 3600, maximum=2 * 366 * 24 * 3600)
    if _https
    else 0
)
# Other hosts below this one, and lists that browsers carry, are for the owner of the domain to
# decide: browsers forget neither.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# --- Applications ---------------------------------------------------------------------------

INSTALLED_APPS = [
    "daphne",
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "django_q",
    "django_celery_beat",
    "executions",
    "agents",
    "knowledge",
    "triggers",
    "flowmaestro",
]
MIDDLEWARE = [
    "flowmaestro.middleware.EdgeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "flowmaestro.cors.CorsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "flowmaestro.urls"
ASGI_APPLICATION = "flowmaestro.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
UNFOLD = {
    "SITE_TITLE": "FlowMaestro",
    "SITE_HEADER": "FlowMaestro",
    "SITE_SUBHEADER": "Durable runs",
}
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "/"

# --- The engine ------------------------------------------------------------------------------

FLOWMAESTRO = Options.from_env(DATA_DIR)
# Behind https there is a proxy; unless said otherwise it is one on this host.
TRUSTED_PROXIES = addresses.networks(
    "FLOWMAESTRO_TRUSTED_PROXIES",
    FLOWMAESTRO.TRUSTED_PROXIES or (("127.0.0.1", "::1") if _https else ()),
)

# --- Database: PostgreSQL, an outside one or the embedded one in the data directory ---------

_outside = env.database("FLOWMAESTRO_DATABASE_URL")
EMBEDDED_DATABASE = _outside is None
# What gives a single command its database; lower apps find it by this name.
STANDALONE_DATABASE = "flowmaestro.standalone.database"
_database: dict[str, Any] = _outside or embedded.database_settings(DATA_DIR)
# A server whose packets vanish must be missed well within a lease: the worker then drops its runs
# before others take them over.
_patience: dict[str, Any] = {
    "connect_timeout": 5,
    "tcp_user_timeout": int(FLOWMAESTRO.LEASE_SECONDS * 1000 / 4),
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        **_database,
        "OPTIONS": {**_patience, **_database.get("OPTIONS", {})},
        # A kept connection would idle in every thread that ever asked something
        # (django/channels#871); the few threads of `serving` look after theirs.
        "CONN_MAX_AGE": 0,
    }
}

# --- Workers --------------------------------------------------------------------------------

# django-q2 supervises the pool and carries wake-ups; its retries, results, timeouts and
# scheduler stay off, since a run's row holds all of that.
Q_CLUSTER = {
    "name": "flowmaestro",
    "broker_class": "executions.engine.broker.RunBroker",
    "workers": FLOWMAESTRO.WORKERS,
    "queue_limit": FLOWMAESTRO.WORKERS,
    "bulk": 1,
    "save_limit": -1,
    "timeout": 60,
    "retry": 61,
    "recycle": 0,
    "ack_failures": True,
    "max_attempts": 1,
    "catch_up": False,
    "scheduler": False,
    "guard_cycle": 0.25,
}

# --- Realtime -------------------------------------------------------------------------------

REDIS_URL = env.secret("FLOWMAESTRO_REDIS_URL")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": (
        {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
        if REDIS_URL
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    )
}

# --- HTTP API and static files --------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "flowmaestro.api.ApiKeyAuthentication",
        "flowmaestro.api.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["flowmaestro.api.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["flowmaestro.api.BoundedJSONParser"],
    "DEFAULT_THROTTLE_CLASSES": ["flowmaestro.api.AddressThrottle"],
    "EXCEPTION_HANDLER": "flowmaestro.api.handle_error",
    "DEFAULT_SCHEMA_CLASS": "executions.api.schema.ApiSchema",
}
# What counts requests; lower apps find it by this name.
RATE_LIMITER = "flowmaestro.throttles.charge"
# What signs public tokens for clients that hold no key; lower apps find it by this name.
PUBLIC_TOKEN_SIGNER = "flowmaestro.public_tokens.sign"
SPECTACULAR_SETTINGS = {
    "TITLE": "FlowMaestro",
    "VERSION": __version__,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    # From our own static files: the page needs no other host.
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": False},
    "SCHEMA_PATH_PREFIX": "/api",
    # What goes in may be stricter than what comes out: a text that is not empty.
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": ["flowmaestro.openapi.add_errors"],
    # `manage.py check --deploy` need not build the document; a test does.
    "ENABLE_DJANGO_DEPLOY_CHECK": False,
}
# More than a payload at its limit, wrapped in a little JSON: a definition that is too large is read
# all the same, so that the answer can name the node at fault.
DATA_UPLOAD_MAX_MEMORY_SIZE = max(16 * 1024 * 1024, 2 * FLOWMAESTRO.PAYLOAD_LIMIT)
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"] if (BASE_DIR / "static").is_dir() else []
WHITENOISE_USE_FINDERS = True

# --- Language, time, logs -------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
_levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOG_LEVEL = env.text("FLOWMAESTRO_LOG_LEVEL", "INFO", choices=_levels)
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        # Whoever polls /healthz reads the reason there; a line per poll would bury the rest.
        "not_health": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: "/healthz" not in record.getMessage(),
        },
        # Whoever is refused for coming too often must not fill the log as well.
        "not_refused": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: getattr(record, "status_code", None) != 429,
        },
        "secrets": {"()": "executions.masking.SecretFilter"},
        "addresses": {"()": "executions.masking.AddressFilter"},
    },
    "formatters": {
        "line": {"format": "{asctime} {levelname:<7} {name}: {message}", "style": "{"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["secrets", "addresses"],
        },
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # One line per message is noise: messages are wake-ups, not work.
        "django-q": {"level": env.text("FLOWMAESTRO_Q2_LOG_LEVEL", "WARNING", choices=_levels)},
        "django.request": {"filters": ["not_health", "not_refused"]},
        # Nothing goes past the one handler, whose filters take secrets out of lines.
        "django": {"handlers": [], "level": "INFO"},
        "django.server": {"handlers": [], "propagate": True},
        "daphne": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}
