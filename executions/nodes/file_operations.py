"""fileRead, fileWrite, fileOperations: the files of the run, read, written and parsed."""

from __future__ import annotations

import base64
import json
from typing import Any, Literal

from pydantic import Field

from executions import files
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.extracting import parsed, pdf, plain, table
from executions.nodes.stored import Document, decoded, load, put
from executions.rules.comparisons import to_number, to_text

Json = Any

# Characters that a node hands on; an output holds a million.
MAX_TEXT = 400_000
_BASE64 = ("base64", "binary")
_KINDS = frozenset({"path", "url", "base64", "upload", "content", "text", "variable", "execution"})


class FileReadConfig(NodeConfig):
    """Which file to read, and as what."""

    path: Json = Field(..., title="Path", description="Of the run's file, or a reference to one")
    encoding: str = Field("utf-8", title="Encoding", description="utf-8, another, or base64")
    max_size: Json = Field(1_000_000, title="Largest size", description="Bytes")


class FileWriteConfig(NodeConfig):
    """Where to write, and what."""

    path: str = Field(..., title="Path", description="Such as reports/july.txt", min_length=1)
    content: Json = Field("", title="Content")
    encoding: str = Field("utf-8", title="Encoding", description="utf-8, another, or base64")
    overwrite: bool = Field(True, title="Overwrite")
    create_directories: bool = Field(True, title="Folders", description="Are made as needed")


class FileOperationsConfig(NodeConfig):
    """What to do, and with which file."""

    operation: Literal["read", "write", "parsePDF", "parseCSV", "parseJSON"] = Field(
        "read", title="Operation"
    )
    file_source: Json = Field(None, title="File", description="A path, reference or address")
    file_path: Json = Field(None, title="Path")
    output_path: str | None = Field(None, title="Write to")
    content: Json = Field(None, title="Content")
    delimiter: str | None = Field(None, title="Delimiter", description="Found out when empty")
    has_header: bool = Field(True, title="Header", description="The first row names the columns")
    encoding: str = Field("utf-8", title="Encoding")


def _path_dialect(config: dict[str, Json]) -> dict[str, Json]:
    for key in ("filePath", "file", "fileName", "filename", "fileVariable"):
        if config.get("path") in (None, "") and config.get(key):
            named = key == "fileVariable" and isinstance(config[key], str)
            config["path"] = f"{{{{{config[key]}}}}}" if named else config[key]
    if config.get("content") is None:
        config["content"] = config.get("data", config.get("input", ""))
    for key in ("encoding", "overwrite", "createDirectories", "maxSize"):
        if config.get(key) is None:
            config.pop(key, None)
    return config


_OPERATIONS = {
    name.lower(): name for name in ("read", "write", "parsePDF", "parseCSV", "parseJSON")
}


def _operations_dialect(config: dict[str, Json]) -> dict[str, Json]:
    given = str(config.get("operation") or "read")
    key = given.lower().replace("-", "").replace("_", "")
    config["operation"] = _OPERATIONS.get(key, given)
    if config.get("filePath") in (None, ""):
        config["filePath"] = next(
            (config[key] for key in ("path", "file", "input", "data") if config.get(key)), None
        )
    if config.get("outputPath") is not None:
        config["outputPath"] = str(config["outputPath"])
    for name in ("hasHeader", "encoding"):
        if config.get(name) is None:
            config.pop(name, None)
    if config.get("delimiter") in ("", "auto"):
        config["delimiter"] = None
    if config.get("delimiter") in ("\\t", "tab"):
        config["delimiter"] = "\t"
    return config


@node(
    "fileRead",
    synonyms=("file-read", "readFile"),
    title="Read a file",
    config=FileReadConfig,
    effect=Effect.READS_OUTSIDE,
    icon="file-text",
    dialect=_path_dialect,
)
async def file_read(call: NodeCall[FileReadConfig]) -> NodeResult:
    """Read a file of the run."""
    config = call.config
    asked = to_number(call.render.value(config.max_size))
    found = await load(
        call.render.value(config.path), field="path", most=int(asked) if asked >= 1 else 1_000_000
    )
    return NodeResult(output=call.wrap(_content(found, config.encoding)))


def _content(found: Document, encoding: str) -> dict[str, Json]:
    if encoding.lower() in _BASE64:
        text = base64.b64encode(found.data).decode()
    elif encoding.lower() in ("utf-8", "utf8", "text"):
        text = plain(found.data)
    else:
        try:
            text = found.data.decode(encoding, "replace").replace("\0", "")
        except (LookupError, UnicodeError) as error:
            raise BadConfig(f"{encoding!r} is no encoding of text.", field="encoding") from error
    return {**_about(found), "content": text, "encoding": encoding}


def _about(found: Document) -> dict[str, Json]:
    if found.stored is not None:
        return found.stored.as_json()
    return {"name": found.name, "size": len(found.data), "mediaType": found.media_type}


@node(
    "fileWrite",
    synonyms=("file-write", "writeFile"),
    title="Write a file",
    config=FileWriteConfig,
    effect=Effect.WRITES_OUTSIDE,
    icon="file-pen",
    dialect=_path_dialect,
)
async def file_write(call: NodeCall[FileWriteConfig]) -> NodeResult:
    """Write a file of the run."""
    config = call.config
    kept = await put(
        _path(call, config.path),
        _data(call.render.value(config.content), config.encoding),
        overwrite=config.overwrite,
    )
    return NodeResult(output=call.wrap(kept.as_json()))


def _path(call: NodeCall[Any], path: str) -> str:
    text = call.render.text(path)
    if "{{" in text:
        raise BadConfig(f"The path {text[:200]!r} still has an unknown name in it.", field="path")
    return files.clean_path(text)


def _data(content: Json, encoding: str) -> bytes:
    if isinstance(content, dict | list):
        return json.dumps(content, ensure_ascii=False, indent=2).encode()
    text = "" if content is None else to_text(content)
    if encoding.lower() in _BASE64:
        return decoded(text, "content")
    try:
        return text.encode("utf-8" if encoding.lower() == "text" else encoding)
    except (LookupError, UnicodeError) as error:
        raise BadConfig(
            f"The content cannot be written as {encoding!r}: {error}.", field="encoding"
        ) from error


@node(
    "fileOperations",
    synonyms=("file", "file-operations", "fileOperation"),
    title="File",
    config=FileOperationsConfig,
    effect=Effect.WRITES_OUTSIDE,
    icon="file",
    dialect=_operations_dialect,
)
async def file_operations(call: NodeCall[FileOperationsConfig]) -> NodeResult:
    """Read, write or parse a file."""
    config = call.config
    if config.operation == "write":
        path = config.output_path or config.file_path
        if not isinstance(path, str):
            raise BadConfig("Say where to write: outputPath is missing.", field="outputPath")
        data = _data(call.render.value(config.content), config.encoding)
        kept = await put(_path(call, path), data)
        return NodeResult(output=call.wrap(kept.as_json()))
    found = await load(_source(call), field="fileSource")
    output = await _parsed(call, found) if config.operation != "read" else None
    if output is None:
        output = _content(found, config.encoding)
    return NodeResult(output=call.wrap(output))


def _source(call: NodeCall[FileOperationsConfig]) -> Json:
    """The file: fileSource, unless it only says of what kind filePath or content is."""
    config, render = call.config, call.render
    source = render.value(config.file_source)
    if isinstance(source, str) and (source.lower() in _KINDS or not source):
        if source.lower() in ("base64", "content", "text") and config.content is not None:
            key = "content" if source.lower() == "base64" else "text"
            return {key: to_text(render.value(config.content)), "name": "content"}
        source = None
    if source is None:
        source = render.value(config.file_path)
    if source is None and config.content is not None:
        return {"text": to_text(render.value(config.content)), "name": "content"}
    return source


async def _parsed(call: NodeCall[FileOperationsConfig], found: Document) -> dict[str, Json]:
    config = call.config
    if config.operation == "parsePDF":
        read = await pdf(found.data, most=MAX_TEXT)
        text = "\n\n".join(page["text"] for page in read.pop("pages"))
        return {"file": _about(found), "text": text, **read}
    if config.operation == "parseCSV":
        if config.delimiter is not None and len(config.delimiter) != 1:
            raise BadConfig("A delimiter is one character.", field="delimiter")
        read = await table(
            found.data, most=MAX_TEXT, delimiter=config.delimiter, header=config.has_header
        )
        return {"file": _about(found), **read}
    return {"file": _about(found), "data": parsed(plain(found.data))}
