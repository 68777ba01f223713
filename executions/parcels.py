"""Payloads that are too large to travel in a trigger, as the SDK of Trigger.dev sends them.

The sender asks for a place, uploads the text there once, and names the parcel in the trigger. Who
has the signed address may fill that one place for an hour, and nothing else. A parcel is kept for a
day, since a trigger may be repeated.
"""

from __future__ import annotations

import json
from datetime import timedelta

from django.conf import settings
from django.core import signing
from django.db.models import DateTimeField, Func, Value
from django.db.models.expressions import CombinedExpression

from executions.errors import Conflict, Invalid, NotFound, TooLarge
from executions.models import Parcel
from executions.rules import json_depth, superjson
from executions.rules.ids import has_prefix, new_id
from executions.rules.values import Json

PREFIX = "parcel"
PLAIN, JSON, SUPERJSON, STORED = (
    "text/plain",
    "application/json",
    "application/super+json",
    "application/store",
)
_KEPT = timedelta(days=1)
_OPEN = timedelta(hours=1)


def announce(workspace: str | None) -> tuple[Parcel, str]:
    """A place for a payload, and the word that opens it."""
    # Those that nobody needs any more go whenever a new one comes.
    Parcel.objects.filter(created_at__lt=_ago(_KEPT)).delete()
    parcel = Parcel.objects.create(id=new_id(PREFIX), workspace_id=workspace)
    return parcel, _signer().sign(parcel.id)


def upload(word: str, text: str, content_type: str) -> None:
    """Fills the place that `word` opens, once; with the same text again, nothing happens.

    Raises NotFound for a wrong or expired word, TooLarge, Conflict when another text is there.
    """
    try:
        place = Parcel.objects.filter(pk=_signer().unsign(word), created_at__gt=_ago(_OPEN))
    except signing.BadSignature:
        place = Parcel.objects.none()
    if not place.exists():
        raise NotFound("This address is not valid, or has expired.")
    size, limit = len(text.encode(errors="surrogatepass")), settings.FLOWMAESTRO.PAYLOAD_LIMIT
    if size > limit:
        raise TooLarge(
            f"payload is {size:,} bytes; at most {limit:,} are allowed.", field="payload"
        )
    if "\0" in text:
        raise Invalid("payload holds a NUL character, which PostgreSQL refuses.", field="payload")
    filled = place.filter(content=None).update(content=text, content_type=content_type)
    if not filled and not place.filter(content=text).exists():
        raise Conflict("This address was used already.", field="payload")


def _signer() -> signing.Signer:
    return signing.Signer(salt="executions.parcels")


def _ago(length: timedelta) -> CombinedExpression:
    return Func(function="flowmaestro_now", output_field=DateTimeField()) - Value(length)


def value_of(payload: Json, content_type: str | None, *, workspace: str | None) -> Json:
    """What a trigger's payload means, by the type that it was sent with. Raises Invalid."""
    kind = _bare(content_type) or JSON
    if kind == STORED:
        parcel = _filled(payload, workspace)
        return parse(str(parcel.content), _bare(parcel.content_type) or JSON, field="payload")
    if kind == JSON or payload is None:
        # A value, not its text: text that happens to be JSON is text.
        return payload
    if not isinstance(payload, str):
        raise Invalid(f"payload is text when payloadType is {kind}.", field="payload")
    return parse(payload, kind, field="payload")


def parse(text: str, kind: str, *, field: str) -> Json:
    """The value that a text of this type stands for. Raises Invalid naming `field`."""
    if kind == SUPERJSON:
        return superjson.parse(text, field=field)
    if kind == PLAIN:
        return text
    if kind == JSON:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Invalid(f"{field} is not JSON: {error}.", field=field) from error
        json_depth.check(text.encode("utf-8", "replace"), value, field=field)
        return value
    known = ", ".join((JSON, SUPERJSON, PLAIN, STORED))
    raise Invalid(f"{field}Type is one of {known}, not {kind!r}.", field=f"{field}Type")


def _bare(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _filled(payload: Json, workspace: str | None) -> Parcel:
    found = None
    if has_prefix(payload, PREFIX):
        found = Parcel.objects.filter(pk=payload, workspace=workspace).first()
    if found is None:
        raise NotFound(
            "payload names an upload that is not there; uploads are kept for a day.",
            field="payload",
        )
    if found.content is None:
        raise Conflict("payload names an upload that has not come.", field="payload")
    return found
