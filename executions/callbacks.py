"""Completing wait tokens by their callback addresses: the address is the permission.

Whoever has no right address learns nothing: an unknown token, a wrong secret and a token whose time
is over are one refusal, found on one path. With the right address, a token that was completed
before counts as completed: the first answer stays.
"""

from __future__ import annotations

import json
from typing import Any, Final

from executions import callback_secrets, reviews, tokens
from executions.audit import Actor
from executions.errors import Invalid, NotFound
from executions.models import WaitToken
from executions.rules import json_depth
from executions.rules.ids import has_prefix
from executions.rules.statuses import TokenStatus

ACTOR: Final = Actor("a callback address")
# Has the form of an id and is none: it was made at the beginning of 1970.
_NOBODY: Final = f"waitpoint_{'0' * 26}"


class NoSuchAddress(NotFound):
    """The address completes nothing, for whatever reason."""

    def __init__(self) -> None:
        super().__init__("This address is not valid, or no longer.")


def answer(token_id: str, secret: str, body: bytes) -> None:
    """Completes the token with the JSON of the body; with `{}` when it is not JSON.

    Raises NoSuchAddress, or Invalid for what cannot be stored or does not fit the question.
    """
    token = _token(token_id, secret)
    if token.status == TokenStatus.COMPLETED:
        return
    try:
        reviews.complete_token(token.id, _value(body), actor=ACTOR)
    except tokens.TokenClosed:
        if tokens.retrieve(token.id).status != TokenStatus.COMPLETED:
            raise NoSuchAddress() from None


def _token(token_id: str, secret: str) -> WaitToken:
    """The token of an address. One query and one comparison, whatever is wrong."""
    known = token_id if has_prefix(token_id, "waitpoint") else _NOBODY
    token = WaitToken.objects.filter(pk=known).defer("output").first()
    is_right = callback_secrets.is_right(secret, None if token is None else token.secret_hash)
    if token is None or not is_right or token.status == TokenStatus.TIMED_OUT:
        raise NoSuchAddress()
    return token


def _value(body: bytes) -> Any:
    try:
        value = json.loads(body, parse_constant=_refuse)
    except ValueError:
        return {}
    except RecursionError as error:
        raise Invalid("The JSON is nested too deeply; flatten it.") from error
    json_depth.check(body, value)
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
