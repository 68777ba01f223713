"""Public tokens: JWTs that whoever holds an API key signs with it, for a browser or a colleague.

A token names its key, and is worth what its scopes say as long as the key is: a revoked key, or a
member shown out, ends all tokens of theirs at once. Nothing is cached, nothing is stored.
Source: core/v3/jwt of @trigger.dev/core 4.8; RFC 7519, RFC 8725.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import jwt
from django.contrib.auth.models import AnonymousUser
from django.db.models import DateTimeField, Func
from rest_framework.exceptions import AuthenticationFailed

from executions import public_access
from executions.access import Caller
from executions.connections.envelope import KeyMissing, NotGenuine
from executions.rules import grants
from executions.rules.grants import Grants
from flowmaestro.models import ApiKey

logger = logging.getLogger(__name__)

ALGORITHM: Final = "HS256"
ISSUER: Final = "https://id.trigger.dev"
AUDIENCE: Final = "https://api.trigger.dev"
LONGEST: Final = 30 * 86_400
"""Seconds from its making that a token may be good for."""
MAX_LENGTH: Final = 16_384
# Clocks of those who sign differ from the database's.
_SKEW: Final = 60
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_SUBJECT = re.compile(r"key_([1-9][0-9]{0,17})")
_REQUIRED = ["exp", "iat", "sub", "iss", "aud"]


def has_shape(text: str) -> bool:
    """Whether a bearer's text is a JWT, and no key."""
    return _SHAPE.fullmatch(text) is not None


def authenticate(token: str) -> tuple[AnonymousUser, Caller]:
    """Who calls with a token: nobody, with grants. Raises AuthenticationFailed.

    Views that know nothing of grants see an anonymous user.
    """
    key = _key_of(token)
    caller = None if key is None else key.caller()
    found = None if key is None or caller is None else _verified(token, key)
    if key is None or caller is None or found is None:
        raise _refused(
            "it is malformed, its key is unknown or revoked, or the signature is another's"
        )
    _check(found, _now_of(key).timestamp())
    key.note_use()
    return AnonymousUser(), replace(
        caller,
        name=f"a public token of {caller.name}",
        scopes=frozenset(),
        grants=_grants(token, found, caller),
    )


def sign(caller: Caller, scopes: Sequence[str], *, seconds: int) -> str:
    """A token for these scopes, signed with the key of the caller or of the caller's token."""
    key = ApiKey.usable().annotate(now=_NOW).get(pk=int(caller.key_id or 0))
    now = int(_now_of(key).timestamp())
    content = {
        **public_access.claims(caller), "scopes": list(scopes), "iss": ISSUER, "aud": AUDIENCE,
        "iat": now, "exp": now + seconds,
    }  # fmt: skip
    return jwt.encode(content, key.reveal(), algorithm=ALGORITHM)


# ---- parts --------------------------------------------------------------------------------------

_NOW = Func(function="flowmaestro_now", output_field=DateTimeField())


def _now_of(key: ApiKey) -> datetime:
    now: datetime = getattr(key, "now")  # noqa: B009 - an annotation
    return now


def _refused(why: str, code: str = "public_token_invalid") -> AuthenticationFailed:
    return AuthenticationFailed(f"This Public Access Token is not valid: {why}.", code)


def _key_of(token: str) -> ApiKey | None:
    """The usable key that a token says it was signed with, which nothing has proved yet."""
    try:
        if len(token) > MAX_LENGTH:
            return None
        claimed = jwt.decode(token, options={"verify_signature": False}).get("sub")
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    match = _SUBJECT.fullmatch(claimed) if isinstance(claimed, str) else None
    if match is None:
        return None
    return ApiKey.usable().annotate(now=_NOW).filter(pk=int(match[1])).first()


def _verified(token: str, key: ApiKey) -> Mapping[str, Any] | None:
    """The claims, when the key signed them; None when it did not."""
    try:
        found: Mapping[str, Any] = jwt.decode(
            token,
            key.reveal(),
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            # Times are held against the database's clock, below.
            options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False,
                     "verify_nbf": False, "strict_aud": True},
        )  # fmt: skip
    except (KeyMissing, NotGenuine) as error:
        # A key from before keys were kept sealed signs nothing: its token is like any other.
        if key.sealed_with:
            logger.error("API key %s cannot check what it signed: %s", key.pk, error.code)
        return None
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    return found


def _check(found: Mapping[str, Any], moment: float) -> None:
    """Raises AuthenticationFailed for a genuine token that does not count at this moment."""
    expires, made = found["exp"], found["iat"]
    if found.get("pub") is not True:
        raise _refused("it lacks the claim pub")
    if not _is_moment(expires) or not _is_moment(made):
        raise _refused("exp and iat are seconds since 1970")
    if expires <= moment:
        raise AuthenticationFailed(
            "This Public Access Token has expired; ask your server for a new one.",
            "public_token_expired",
        )
    if expires > made + LONGEST or expires > moment + LONGEST + _SKEW:
        raise _refused("it is good for more than 30 days; make it for less")
    begins = found.get("nbf")
    if begins is not None and not (_is_moment(begins) and begins <= moment + _SKEW):
        raise _refused("its time has not come")


def _is_moment(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40


def _grants(token: str, found: Mapping[str, Any], caller: Caller) -> Grants:
    is_for_one_use = found.get("otu", False)
    if not isinstance(is_for_one_use, bool):
        raise _refused("otu is true or false")
    try:
        scopes = grants.parse(found.get("scopes"))
    except ValueError as error:
        raise _refused(str(error)) from error
    # What was signed, and not the signature: that can be spelt in several ways.
    signed = token.rpartition(".")[0]
    digest = hashlib.sha256(signed.encode()).hexdigest() if is_for_one_use else None
    return Grants(scopes, caller.scopes, digest, found["exp"])
