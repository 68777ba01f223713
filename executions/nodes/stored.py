"""What nodes do with files: take one in from wherever a definition has it, and keep one in the run.

A source is a reference, {path, …}; content itself, {name, content | text}; an address; a data: URL;
or the path of a file of the run.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from executions import files, outbound
from executions.engine.bodies import StepContext, current_step
from executions.files import BadPath, File, FileExists
from executions.nodes import BadConfig, NotAvailable, setting
from executions.rules.ids import created_at

Json = Any
T = TypeVar("T")

FETCH_SECONDS = 60.0
_DATA_URL = re.compile(r"data:([\w.+/-]*)((?:;[\w=.+-]+)*?)(;base64)?,", re.IGNORECASE)
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_NAME = re.compile(r'\bfilename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', re.IGNORECASE)
_EXTENDED_NAME = re.compile(r"\bfilename\*\s*=\s*([\w-]*)'[\w-]*'([^;\s]+)", re.IGNORECASE)
_MAX_NAME = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file with its content; `stored` says where the run keeps it, if it does."""

    name: str
    media_type: str
    data: bytes
    stored: File | None = None


async def blocking(function: Callable[..., T], *args: Any, **options: Any) -> T:
    """What a plain function gives, called on a thread of the worker's pool."""
    step = _step()

    def call() -> T:
        return function(*args, **options)

    result: T = await step.live.host.on_thread(step.live, call, ())
    return result


def _step() -> StepContext:
    step = current_step()
    if getattr(step, "live", None) is None:
        raise NotAvailable("Files need the engine: start the workflow as a run.")
    return step


def limit() -> int:
    """The bytes that one file may have."""
    return int(setting("FILE_LIMIT", 50_000_000))


def run_started() -> int:
    """When the run was started, in seconds since 1970: part of its id, so the same for a retry."""
    return created_at(_step().run_id)


async def put(
    path: str, data: bytes, *, media_type: str | None = None, overwrite: bool = True
) -> File:
    """Keep a file under exactly this path."""
    step = _step()
    return await blocking(
        files.write, step.run_id, path, data, media_type=media_type, overwrite=overwrite,
        step=step.step, claim=step.live.claim,
    )  # fmt: skip


async def put_new(path: str, data: bytes, *, media_type: str | None = None) -> File:
    """Keep a file under this path, or under one like it where another step's file has it.

    A retry of the step finds its own file again and writes it anew.
    """
    try:
        return await put(path, data, media_type=media_type, overwrite=False)
    except FileExists:
        mark = hashlib.sha256(_step().step.encode()).hexdigest()[:8]
        folder, slash, name = path.rpartition("/")
        stem, dot, ending = name.rpartition(".")
        other = f"{stem}-{mark}.{ending}" if dot else f"{name}-{mark}"
        return await put(folder + slash + other, data, media_type=media_type)


async def load(source: Json, *, field: str, most: int | None = None) -> Document:
    """The file that a source means, of at most so many bytes."""
    most = min(most or limit(), limit())
    if isinstance(source, list) and len(source) == 1:
        source = source[0]
    if isinstance(source, str):
        return await _from_text(source, field, most)
    if isinstance(source, dict):
        return await _from_object(source, field, most)
    raise BadConfig(
        "There is no file to read: give a reference such as {path}, an address, or content.",
        field=field,
    )


async def _from_object(source: dict[str, Json], field: str, most: int) -> Document:
    named = source.get("name", source.get("fileName", source.get("filename")))
    name = safe_name(named) if isinstance(named, str) else ""
    kind = source.get("mediaType", source.get("mimeType", source.get("type")))
    for key in ("content", "base64", "data", "text"):
        content = source.get(key)
        if not isinstance(content, str):
            continue
        is_text = key == "text" or source.get("encoding") in ("utf-8", "utf8", "text")
        if content.startswith("data:"):
            found = _from_data_url(content, field)
            data, kind = found.data, kind or found.media_type
        else:
            data = content.encode() if is_text else decoded(content, field)
        return _document(name or "file", kind, data, field, most)
    if isinstance(source.get("path"), str):
        run_id = source.get("runId")
        return await _of_run(source["path"], run_id if isinstance(run_id, str) else None, most)
    for key in ("url", "href", "file"):
        if isinstance(source.get(key), str | dict):
            return await load(source[key], field=field, most=most)
    raise BadConfig(
        f"The file {name or 'given'!r} has neither path, content, text nor url.", field=field
    )


async def _from_text(source: str, field: str, most: int) -> Document:
    text = source.strip()
    if text.startswith("data:"):
        found = _from_data_url(text, field)
        return _document(found.name, found.media_type, found.data, field, most)
    if re.match(r"https?://", text, re.IGNORECASE):
        return await fetch(text, most=most, seconds=FETCH_SECONDS)
    # What a PDF begins with, in base64.
    if text.startswith("JVBERi0"):
        return _document("file.pdf", "application/pdf", decoded(text, field), field, most)
    if "{{" in text:
        raise BadConfig(f"The file {text[:200]!r} still has an unknown name in it.", field=field)
    return await _of_run(text, None, most)


def _from_data_url(text: str, field: str) -> Document:
    match = _DATA_URL.match(text[:1000])
    if match is None:
        raise BadConfig("The data: URL is broken.", field=field)
    body = text[match.end() :]
    data = decoded(body, field) if match.group(3) else unquote_to_bytes(body)
    return Document(name="file", media_type=match.group(1) or "text/plain", data=data)


async def _of_run(path: str, named: str | None, most: int) -> Document:
    run_id = _step().run_id

    def read() -> tuple[File, bytes]:
        return files.read(files.holder(run_id, named), path, limit=most)

    found, data = await blocking(read)
    return Document(name=found.name, media_type=found.media_type, data=data, stored=found)


async def fetch(url: str, *, most: int, seconds: float) -> Document:
    """The file at an address, under the name that the answer or the address gives it."""
    response = await outbound.request("GET", url, timeout=seconds, max_bytes=most)
    check_status(response)
    kind = response.header("content-type").partition(";")[0].strip().lower()
    name = _named_by(response.header("content-disposition")[:2_000])
    name = name or safe_name(unquote(urlsplit(response.url).path).rpartition("/")[2])
    return Document(name=name, media_type=kind, data=response.body)


def check_status(response: outbound.OutboundResponse) -> None:
    """Refuses an answer that is no success; those of an overloaded server are worth a retry."""
    if response.status < 300:
        return
    where = urlsplit(response.url)
    text = f"{where.scheme}://{where.hostname}{where.path} answered {response.status}."
    if response.status in (408, 425, 429) or response.status >= 500:
        raise outbound.OutboundFailed(text)
    raise outbound.OutboundRefused(text, field="url")


def _named_by(disposition: str) -> str:
    """The file's name in a Content-Disposition (RFC 6266), without any folder."""
    extended = _EXTENDED_NAME.search(disposition)
    if extended is not None:
        try:
            return safe_name(unquote(extended.group(2), encoding=extended.group(1) or "utf-8"))
        except LookupError:
            return safe_name(unquote(extended.group(2)))
    plain = _NAME.search(disposition)
    if plain is None:
        return ""
    return safe_name(re.sub(r"\\(.)", r"\1", plain.group(1) or plain.group(2) or ""))


def safe_name(text: str) -> str:
    """A name for a file out of anybody's text; empty when nothing of it can stay."""
    last = re.split(r"[/\\]", text)[-1]
    plain = _NOT_IN_NAMES.sub("_", last).strip(" .~")
    if len(plain) > _MAX_NAME:
        stem, _, ending = plain.rpartition(".")
        plain = f"{stem[: _MAX_NAME - 20]}.{ending[:10]}" if stem else plain[:_MAX_NAME]
    try:
        return files.clean_path(plain)
    except BadPath:
        return ""


def with_ending(path: str, ending: str) -> str:
    """The path with this ending, unless it has it."""
    return path if path.lower().endswith(f".{ending}") else f"{path}.{ending}"


def decoded(text: str, field: str) -> bytes:
    """The bytes of a base64 text."""
    try:
        return base64.b64decode(re.sub(r"\s+", "", text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadConfig(f"The content is not base64: {error}.", field=field) from error


def _document(name: str, kind: Json, data: bytes, field: str, most: int) -> Document:
    if len(data) > most:
        raise files.FileTooLarge(
            f"The file {name!r} has {len(data):,} bytes, over the limit of {most:,}.", field=field
        )
    is_kind = isinstance(kind, str) and "/" in kind
    return Document(name=name, media_type=kind if is_kind else files.type_of(name), data=data)
