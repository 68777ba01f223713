"""What is done to descriptions of APIs: register one under a provider's name, remove it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.db.models.functions import Now

from executions import audit, connectors
from executions.audit import Actor
from executions.connectors.openapi import document as documents
from executions.connectors.openapi.operations import operations_of
from executions.errors import Conflict, Invalid, NotFound
from executions.models import ApiDescription
from executions.rules.ids import new_id

Json = Any

_PROVIDER = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def register(
    provider: str,
    text: str,
    *,
    base_url: str = "",
    reason: str | None = None,
    actor: Actor | None = None,
) -> tuple[ApiDescription, list[str]]:
    """Stores an OpenAPI document in place of an earlier one; with it come its operations' names.

    Raises Invalid, with nothing changed, when the document cannot be used.
    """
    reason = audit.check_reason(reason)
    name = check_provider(provider)
    if base_url and (urlsplit(base_url).scheme not in ("http", "https") or "@" in base_url):
        raise Invalid(f"{base_url!r} is no address like https://api.example.com.", field="base_url")
    document = documents.read(text)
    operations = operations_of(document)
    info = document.get("info")
    title = str(info.get("title") or "") if isinstance(info, dict) else ""
    values = {
        "title": title[:200],
        "document": document,
        "base_url": base_url.rstrip("/"),
        "updated_at": Now(),
    }
    with transaction.atomic():
        row, is_new = ApiDescription.objects.update_or_create(
            provider=name, defaults=values, create_defaults={**values, "id": new_id("api")}
        )
        row.refresh_from_db(fields=("updated_at", "created_at"))
        audit.record(
            actor, "api.register", row.id, reason=reason,
            after={"provider": name, "title": title, "baseUrl": row.base_url,
                   "operations": len(operations), "isNew": is_new},
        )  # fmt: skip
    return row, list(operations)


def remove(provider: str, *, reason: str | None = None, actor: Actor | None = None) -> None:
    """Forgets a document. Raises NotFound."""
    reason = audit.check_reason(reason)
    with transaction.atomic():
        row = ApiDescription.objects.select_for_update().filter(provider=provider).first()
        if row is None:
            raise NotFound(f"No API is described as {provider!r}.", field="provider")
        before = {"provider": provider, "title": row.title}
        audit.record(actor, "api.remove", row.id, reason=reason, before=before)
        row.delete()


def check_provider(provider: str) -> str:
    """The name in lower case. Raises Invalid, or Conflict for a name that code has taken."""
    name = provider.strip().lower()
    if not _PROVIDER.fullmatch(name):
        raise Invalid(
            f"A provider's name is of letters, digits, dots and hyphens, not {provider!r}.",
            field="provider",
        )
    if connectors.is_registered(name):
        raise Conflict(f"The connector {name!r} is built in; choose another name.")
    return name
