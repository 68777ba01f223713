"""The ASGI application that daphne serves: pages and API over HTTP, live updates over sockets."""

from __future__ import annotations

import os

import django
from channels.routing import ProtocolTypeRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flowmaestro.settings")
django.setup(set_prefix=False)

from django.conf import settings  # noqa: E402

from flowmaestro import body_limits  # noqa: E402
from flowmaestro.serving import Handler  # noqa: E402

body_limits.install()

application = ProtocolTypeRouter({"http": Handler(settings.FLOWMAESTRO.WEB_THREADS)})
