"""Finding users as commands and clients name them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model

from executions.errors import NotFound


def named(name: str, *, field: str = "user") -> Any:
    """The user of a name. Raises NotFound."""
    users = get_user_model()
    found = users._default_manager.filter(**{users.USERNAME_FIELD: name}).first()
    if found is None:
        raise NotFound(f"There is no user {name!r}.", field=field)
    return found
