"""fileDownload: keep what an address answers as a file of the run."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.stored import fetch, limit, put_new, safe_name, with_ending
from executions.nodes.url import seconds_of, whole
from executions.rules.comparisons import to_number, to_text

Json = Any

_SIZE = 52_428_800
# Endings for names that come without one.
_ENDINGS = {
    "application/pdf": "pdf", "application/json": "json", "application/zip": "zip",
    "text/html": "html", "text/plain": "txt", "text/csv": "csv", "image/png": "png",
    "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "image/svg+xml": "svg",
    "audio/mpeg": "mp3", "video/mp4": "mp4",
}  # fmt: skip


class FileDownloadConfig(NodeConfig):
    """What to download, how much of it, and how to call it."""

    url: str = Field(..., title="Address", min_length=1)
    file_name: str | None = Field(None, title="Name", description="Else the answer's own name")
    max_size: Json = Field(_SIZE, title="Largest size", description="Bytes")
    timeout: Json = Field(60_000, title="Timeout", description="Milliseconds")
    allowed_types: tuple[str, ...] = Field(
        (), title="Types", description="Such as application/pdf or image/*; empty means any"
    )


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    if config.get("url") in (None, "") and isinstance(config.get("urlVariable"), str):
        config["url"] = f"{{{{{config['urlVariable']}}}}}"
    for key in ("filename", "outputFileName", "name"):
        if config.get("fileName") in (None, "") and isinstance(config.get(key), str):
            config["fileName"] = config[key]
    types = config.get("allowedTypes", config.get("acceptedTypes"))
    if isinstance(types, str):
        types = [part.strip() for part in types.split(",")]
    config["allowedTypes"] = [str(each) for each in types or () if str(each)]
    for key in ("timeout", "maxSize"):
        if config.get(key) is None:
            config.pop(key, None)
    return config


@node(
    "fileDownload",
    synonyms=("file-download", "download"),
    title="Download",
    config=FileDownloadConfig,
    effect=Effect.WRITES_OUTSIDE,
    icon="download",
    own_timeout=True,
    dialect=_dialect,
)
async def file_download(call: NodeCall[FileDownloadConfig]) -> NodeResult:
    """Download a file and keep it with the run."""
    config, render = call.config, call.render
    address = to_text(render.value(config.url)).strip()
    if not address or "{{" in address:
        raise BadConfig(f"{address[:200]!r} is no address.", field="url")
    asked = to_number(render.value(config.max_size))
    most = min(limit(), int(asked) if asked >= 1 else _SIZE)
    found = await fetch(whole(address), most=most, seconds=seconds_of(config.timeout))
    if config.allowed_types and not is_allowed(found.media_type, config.allowed_types):
        raise BadConfig(
            f"The file is {found.media_type or 'of no known type'}; allowed are "
            f"{', '.join(config.allowed_types)}.",
            field="allowedTypes",
        )
    name = safe_name(render.text(config.file_name)) if config.file_name else ""
    name = name or found.name or "download"
    if "." not in name and found.media_type in _ENDINGS:
        name = with_ending(name, _ENDINGS[found.media_type])
    kept = await put_new(name, found.data, media_type=found.media_type or None)
    output = {**kept.as_json(), "url": address, "contentType": kept.media_type}
    return NodeResult(output=call.wrap(output))


def is_allowed(media_type: str, allowed: tuple[str, ...], name: str = "") -> bool:
    """Whether a list of types (application/pdf, image/*) or endings (pdf, .pdf) has this one."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    for each in allowed:
        wanted = each.strip().lower()
        if wanted in ("*", "*/*", media_type.lower()) or (
            wanted.endswith("/*") and media_type.lower().startswith(wanted[:-1])
        ):
            return True
        if "/" not in wanted and wanted.lstrip("*.") in (ending, media_type.rpartition("/")[2]):
            return True
    return False
