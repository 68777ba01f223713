"""files: take the files that were given to the run, keep them, and read their text in passages."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from executions.documents import BadDocument
from executions.nodes import BadConfig, Effect, NodeCall, NodeConfig, NodeResult, node
from executions.nodes.extracting import kind_of, text_of
from executions.nodes.file_download import is_allowed
from executions.nodes.stored import Document, load, put_new
from executions.rules.chunking import split
from executions.rules.evaluation import MISSING

Json = Any

MAX_FILES = 100
# Characters of all files together: an output holds each of them twice.
MAX_TEXT = 300_000
# The same for their passages, which overlap.
MAX_CHUNKS = 600_000
_FOLDER = "uploads"


class FilesConfig(NodeConfig):
    """Where the files come from, which may come, and how their text is cut."""

    input_name: str = Field("files", title="Input", description="The run's input with the files")
    required: bool = Field(False, title="Required")
    multiple: bool = Field(True, title="Several")
    allowed_file_types: tuple[str, ...] = Field(
        (), title="Types", description="Such as pdf, .docx or text/*; empty means any"
    )
    chunk_size: int = Field(1_000, title="Passage", ge=50, le=100_000, description="Characters")
    chunk_overlap: int = Field(200, title="Overlap", ge=0, description="Characters")

    @model_validator(mode="after")
    def _overlaps_in_part(self) -> FilesConfig:
        if self.chunk_overlap >= self.chunk_size:
            raise ValueError("chunkOverlap is not less than chunkSize; make it smaller.")
        return self


def _dialect(config: dict[str, Json]) -> dict[str, Json]:
    for key in ("inputVariable", "variableName", "fileVariable"):
        if not config.get("inputName") and isinstance(config.get(key), str):
            config["inputName"] = config[key]
    for key in ("allowedTypes", "acceptedTypes", "fileTypes"):
        if not config.get("allowedFileTypes"):
            config["allowedFileTypes"] = config.get(key)
    types = config["allowedFileTypes"]
    if isinstance(types, str):
        types = types.split(",")
    config["allowedFileTypes"] = [str(each).strip() for each in types or () if str(each).strip()]
    for key in ("inputName", "required", "multiple", "chunkSize", "chunkOverlap"):
        if config.get(key) in (None, ""):
            config.pop(key, None)
    if "chunkOverlap" not in config and isinstance(config.get("chunkSize"), int):
        config["chunkOverlap"] = min(200, config["chunkSize"] // 5)
    return config


@node(
    "files",
    synonyms=("fileInput", "file-upload", "fileUpload"),
    title="Files",
    config=FilesConfig,
    effect=Effect.WRITES_OUTSIDE,
    icon="files",
    is_entry=True,
    dialect=_dialect,
)
async def files_node(call: NodeCall[FilesConfig]) -> NodeResult:
    """Take uploaded files and read their text."""
    config = call.config
    given = _given(call)
    if not given:
        if config.required:
            raise BadConfig(f"The input {config.input_name!r} has no file.", field="inputName")
        call.render.warnings.append(f"The input {config.input_name!r} has no file.")
    found: list[dict[str, Json]] = []
    chunks: list[dict[str, Json]] = []
    texts: list[str] = []
    left, room = MAX_TEXT, MAX_CHUNKS
    for place, source in enumerate(given):
        document = await load(source, field="inputName")
        _check_type(config, document)
        about, text = await _taken(call, document, place, left)
        left = max(0, left - len(text))
        own = _chunks(config, text, about, len(chunks), room)
        room -= sum(len(each["content"]) for each in own)
        found.append({**about, "chunkCount": len(own)})
        chunks.extend(own)
        if text:
            texts.append(text)
    output = {
        "files": found,
        "allChunks": chunks,
        "combinedText": "\n\n".join(texts),
        "fileCount": len(found),
        "totalChunkCount": len(chunks),
    }
    return NodeResult(output=call.wrap(output))


def _given(call: NodeCall[FilesConfig]) -> list[Json]:
    config = call.config
    value = call.scope.get(config.input_name, MISSING)
    if value is MISSING:
        value = call.render.expression(config.input_name)
    if value in (None, "", MISSING):
        return []
    given = value if isinstance(value, list) else [value]
    if not config.multiple and len(given) > 1:
        raise BadConfig(f"{len(given)} files were given; one may be.", field="multiple")
    if len(given) > MAX_FILES:
        raise BadConfig(f"{len(given)} files were given; {MAX_FILES} may be.", field="inputName")
    return given


def _check_type(config: FilesConfig, document: Document) -> None:
    allowed = config.allowed_file_types
    if allowed and not is_allowed(document.media_type, allowed, document.name):
        raise BadConfig(
            f"The file {document.name!r} ({document.media_type}) is not of an allowed type; "
            f"those are {', '.join(allowed)}.",
            field="allowedFileTypes",
        )


async def _taken(
    call: NodeCall[FilesConfig], document: Document, place: int, left: int
) -> tuple[dict[str, Json], str]:
    """A reference to the file, kept with the run, and its text."""
    kept = document.stored
    if kept is None:
        name = document.name or f"file-{place + 1}"
        kept = await put_new(
            f"{_FOLDER}/{place + 1}/{name}", document.data, media_type=document.media_type
        )
    about = kept.as_json()
    if kind_of(document) is None:
        call.render.warnings.append(f"The file {document.name!r} has no text that can be read.")
        return about, ""
    try:
        text, cut = await text_of(document, most=left)
    except BadDocument as error:
        # One broken file must not keep the others from being read.
        call.render.warnings.append(f"{document.name}: {error.message}")
        return {**about, "error": error.message}, ""
    if cut:
        call.render.warnings.append(
            f"The text of {document.name!r} was cut: all files together have more than "
            f"{MAX_TEXT:,} characters."
        )
        about["truncated"] = True
    return about, text


def _chunks(
    config: FilesConfig, text: str, about: dict[str, Json], before: int, room: int
) -> list[dict[str, Json]]:
    chunks: list[dict[str, Json]] = []
    passages = split(text, size=config.chunk_size, overlap=config.chunk_overlap)
    for place, passage in enumerate(passages):
        room -= len(passage.text)
        if room < 0:
            raise BadConfig(
                f"The passages have over {MAX_CHUNKS:,} characters; make chunkOverlap smaller.",
                field="chunkOverlap",
            )
        chunk = {
            "content": passage.text,
            "index": before + place,
            "metadata": {
                "fileName": about["name"],
                "path": about["path"],
                "chunkIndex": place,
                "start": passage.start,
                "end": passage.end,
                "sentences": passage.sentences,
            },
        }
        chunks.append(chunk)
    return chunks
