"""Public tokens as the API gives them out and uses them up. Checking them is the project's part.

They are JWTs signed with an API key, so a client that has the key makes them itself, from claims
that answers carry in a header; for a client that has none, the server signs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final, cast

from django.conf import settings
from django.db import connection
from django.utils.module_loading import import_string

from executions import repeats
from executions.access import Caller, ScopeMissing
from executions.errors import FlowMaestroError
from executions.models import AnsweredRequest
from executions.rules import grants

CLAIMS_HEADER: Final = "x-trigger-jwt-claims"
TOKEN_HEADER: Final = "x-trigger-jwt"
HOUR, DAY = 3600, 86_400
_KIND: Final = "one-time token"
# The row outlives its token by more than clocks differ.
_MARGIN = timedelta(hours=1)


class NoKey(ScopeMissing):
    """A caller who signs with nothing."""

    code = "no_key"


class TokenUsed(FlowMaestroError):
    """A token for one use came again."""

    code = "public_token_used"
    http_status = 403


def claims(caller: Caller) -> dict[str, Any]:
    """What a token signed with the caller's key must say, beside its scopes. Raises NoKey."""
    if caller.key_id is None:
        raise NoKey("Public tokens are signed with an API key; call with one.")
    return {"sub": f"key_{caller.key_id}", "pub": True}


def headers(caller: Caller, scopes: Sequence[str], *, seconds: int = HOUR) -> dict[str, str]:
    """What an answer carries so that its client has a token for what was just made.

    A signed-in user needs none.
    """
    if caller.key_id is None:
        return {}
    if caller.grants is None:
        return {CLAIMS_HEADER: json.dumps(claims(caller), separators=(",", ":"))}
    sign = cast(Callable[..., str], import_string(settings.PUBLIC_TOKEN_SIGNER))
    return {TOKEN_HEADER: sign(caller, scopes, seconds=seconds)}


def spend(caller: Caller, make: Callable[[], str]) -> str:
    """What `make` gives: the id of what it makes. A token for one use is used up by it.

    Both are one transaction: if it fails, the token is as before. Raises TokenUsed.
    """
    held = caller.grants
    if not isinstance(held, grants.Grants) or held.one_time is None:
        return make()
    made, is_used = repeats.once(
        _KIND, "", held.one_time, make, lifetime=_remaining(held.expires_at), field="token"
    )
    if is_used:
        raise TokenUsed(
            "This Public Access Token was for one use, and has been used; ask your server for a "
            "new one."
        )
    return made


def made_with(caller: Caller) -> str | None:
    """The id of what the caller's token for one use was used for; None before that."""
    held = caller.grants
    if not isinstance(held, grants.Grants) or held.one_time is None:
        return None
    used = AnsweredRequest.objects.filter(kind=_KIND, scope="", key=held.one_time)
    return used.values_list("result", flat=True).first()


def _remaining(expires_at: int) -> timedelta:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM flowmaestro_now())::float8")
        now: float = cursor.fetchone()[0]
    return timedelta(seconds=max(0.0, expires_at - now)) + _MARGIN
