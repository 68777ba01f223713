"""What a connection may be called, and what its fields and secrets may hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from executions.errors import Invalid
from executions.masking import SHORTEST
from executions.rules.ids import has_prefix
from executions.rules.values import plain_text

Json = Any

PREFIX = "conn"
MAX_FIELDS = 50
MAX_SECRET = 64_000
MAX_PUBLIC = 4_000


def check_name(name: object) -> str:
    """The name, which must not look like an id. Raises Invalid."""
    text = plain_text(name, field="name", limit=200)
    if has_prefix(text, PREFIX) or text != text.strip():
        raise Invalid("A connection's name is no id, and has no space around it.", field="name")
    return text


def check_fields(fields: Mapping[str, Json], secrets: Mapping[str, str]) -> dict[str, Json]:
    """The public fields: short plain values, none of them also a secret. Raises Invalid."""
    if len(fields) > MAX_FIELDS:
        raise Invalid(f"A connection has at most {MAX_FIELDS} fields.", field="fields")
    for name, value in fields.items():
        plain_text(name, field="fields", limit=100)
        where = f"fields.{name}"
        if name in secrets:
            raise Invalid(f"{name} is either a field or a secret, not both.", field=where)
        if not isinstance(value, str | int | float | bool | None) or len(str(value)) > MAX_PUBLIC:
            raise Invalid(
                f"{name} is a text, a number, true or false, of at most {MAX_PUBLIC:,} characters.",
                field=where,
            )
        if isinstance(value, str) and "\0" in value:
            raise Invalid(f"{name} holds a NUL character.", field=where)
    return dict(fields)


def check_secrets(secrets: Mapping[str, str]) -> dict[str, str]:
    """The secrets, each long enough to be hidden. Raises Invalid without repeating any."""
    if len(secrets) > MAX_FIELDS:
        raise Invalid(f"A connection has at most {MAX_FIELDS} secrets.", field="secrets")
    for name, value in secrets.items():
        plain_text(name, field="secrets", limit=100)
        where = f"secrets.{name}"
        if not isinstance(value, str) or "\0" in value or len(value) > MAX_SECRET:
            raise Invalid(
                f"The secret {name} is text of at most {MAX_SECRET:,} characters.", field=where
            )
        if len(value) < SHORTEST:
            raise Invalid(
                f"The secret {name} has fewer than {SHORTEST} characters: too few to keep it out "
                "of outputs. Leave it out when it is empty.",
                field=where,
            )
    return dict(secrets)
