"""What the four types of triggers can be told, and what of it is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from executions.errors import Invalid
from triggers.rules import filters
from triggers.rules.signatures import Signing, Style

Json = Any

METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH")
ANY_ORIGIN: Final = "*"
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_PORTS: Final = {"http": 80, "https": 443}


class TriggerType(StrEnum):
    """What starts the workflow."""

    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    EVENT = "event"
    MANUAL = "manual"


class Auth(StrEnum):
    """How a request shows that it may."""

    NONE = "none"
    API_KEY = "api_key"
    BEARER = "bearer"
    HMAC = "hmac"


class Once(StrEnum):
    """What two deliveries have in common that start one run only."""

    DELIVERY = "delivery"
    CONTENT = "content"


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError("this is no name of a header")
    return name


def _origin(text: str) -> str:
    found = text if text == ANY_ORIGIN else origin_of(text)
    if found is None:
        raise ValueError(f"{text!r} is no origin; one looks like https://app.example.com")
    return found


def origin_of(text: str) -> str | None:
    """An origin in its one spelling; None for what is none."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in _PORTS or not parts.hostname or extra or text != text.strip():
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    is_usual = port is None or port == _PORTS[parts.scheme]
    return f"{parts.scheme}://{host}" if is_usual else f"{parts.scheme}://{host}:{port}"


Name = Annotated[StrictStr, Field(min_length=1, max_length=200)]
Header = Annotated[StrictStr, AfterValidator(_header)]
Origin = Annotated[StrictStr, AfterValidator(_origin)]


class _Config(BaseModel):
    # A key that is misspelt must not pass for one left out: `authtype` would open the door.
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)

    description: StrictStr | None = Field(default=None, max_length=2000)


class ScheduleConfig(_Config):
    """When, by a cron expression in a zone; and what the workflow gets."""

    cron_expression: Name
    timezone: Name = "UTC"
    enabled: StrictBool = True
    inputs: dict[str, Json] | None = None


class EventConfig(_Config):
    """Which events, by their name, source and payload."""

    event_type: Name
    source: Name | None = None
    filters: dict[str, Json] | None = None


class ManualConfig(_Config):
    """What the workflow gets where a caller gives nothing else, and what it has to look like."""

    inputs: dict[str, Json] | None = None
    input_schema: dict[str, Json] | StrictBool | None = None
    require_inputs: StrictBool = False


class WebhookConfig(_Config):
    """Which requests are taken, and how they show that they may."""

    method: Literal["GET", "POST", "PUT", "DELETE", "PATCH", "ANY"] | None = None
    auth_type: Auth | None = None
    require_signature: StrictBool = False
    signature_style: Style = Style.GENERIC
    signature_header: Header | None = None
    timestamp_header: Header | None = None
    delivery_id_header: Header | None = None
    once_by: Once = Once.DELIVERY
    api_key_header: Header = "X-API-Key"
    allowed_origins: list[Origin] | None = Field(default=None, max_length=100)
    payload_limit: StrictInt | None = Field(default=None, ge=1)
    response_format: Literal["json", "text"] = "json"
    custom_headers: dict[str, str] | None = None

    @property
    def auth(self) -> Auth:
        """What a request has to show."""
        asked = Auth.HMAC if self.require_signature else Auth.NONE
        return asked if self.auth_type is None else self.auth_type

    @property
    def signing(self) -> Signing:
        """How deliveries are signed and named."""
        return Signing(
            style=self.signature_style,
            signature_header=_lower(self.signature_header),
            timestamp_header=_lower(self.timestamp_header),
            delivery_id_header=_lower(self.delivery_id_header),
        )

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that are taken."""
        return METHODS if self.method in (None, "ANY") else (str(self.method),)

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of that origin may send requests; without a list, any may."""
        listed = self.allowed_origins
        return not listed or ANY_ORIGIN in listed or origin_of(origin) in listed

    def secret_headers(self) -> tuple[str, ...]:
        """Headers that hold what must not be kept."""
        named = (self.signature_header, self.api_key_header)
        return tuple(name.lower() for name in named if name)


Config = ScheduleConfig | EventConfig | ManualConfig | WebhookConfig
_KINDS: Final[dict[TriggerType, type[_Config]]] = {
    TriggerType.SCHEDULE: ScheduleConfig,
    TriggerType.WEBHOOK: WebhookConfig,
    TriggerType.EVENT: EventConfig,
    TriggerType.MANUAL: ManualConfig,
}


def read(kind: str, config: Json) -> Any:
    """The config of a trigger of this type. Raises Invalid naming the field at fault."""
    if not isinstance(config, Mapping):
        raise Invalid("config is an object; what it holds depends on the type.", field="config")
    found = _read(_KINDS[TriggerType(kind)], config, kind)
    if isinstance(found, EventConfig) and found.filters is not None:
        filters.check(found.filters, field="config.filters")
    if isinstance(found, WebhookConfig):
        _check_webhook(found)
    return found


def _read(kind: type[_Config], config: Mapping[str, Json], name: str) -> _Config:
    try:
        return kind.model_validate(dict(config))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(["config", *(str(part) for part in first["loc"])])
        if first["type"] == "extra_forbidden":
            known = ", ".join(to_camel(field) for field in kind.model_fields)
            raise Invalid(
                f"{where} is unknown; a trigger of type {name} has {known}.", field=where
            ) from error
        said = first["msg"].removeprefix("Value error, ")
        raise Invalid(f"{where}: {said}.", field=where) from error


def as_json(config: _Config) -> dict[str, Json]:
    """The config as it is stored: what was given, and no default that may change one day."""
    return config.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _check_webhook(config: WebhookConfig) -> None:
    if config.require_signature and config.auth != Auth.HMAC:
        raise Invalid("requireSignature takes authType hmac.", field="config.requireSignature")
    if config.custom_headers:
        raise Invalid(
            "customHeaders has no meaning here; leave it out.", field="config.customHeaders"
        )
    is_generic = config.auth == Auth.HMAC and config.signature_style == Style.GENERIC
    own = ("signature_header", "timestamp_header")
    for name in own:
        if getattr(config, name) is not None and not is_generic:
            shown = to_camel(name)
            raise Invalid(
                f"{shown} is for authType hmac with signatureStyle generic; other styles have "
                "their own.",
                field=f"config.{shown}",
            )
    if config.auth == Auth.HMAC and not is_generic and config.delivery_id_header is not None:
        raise Invalid(
            f"Deliveries of style {config.signature_style} are named in their own way; leave "
            "deliveryIdHeader out.",
            field="config.deliveryIdHeader",
        )
    if config.signature_style != Style.GENERIC and config.auth != Auth.HMAC:
        raise Invalid("signatureStyle is for authType hmac.", field="config.signatureStyle")


def _lower(name: str | None) -> str | None:
    return None if name is None else name.lower()
