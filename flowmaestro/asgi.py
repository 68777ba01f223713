"""The ASGI application that daphne serves: pages and API over HTTP, live updates over sockets."""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flowmaestro.settings")

application = ProtocolTypeRouter({"http": get_asgi_application()})
