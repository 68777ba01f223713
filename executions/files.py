"""The files of a run: written whole, read, listed, removed. They live in the database.

Any worker on any host therefore sees them, and they go with their run. A path names a file of one
run; a reference, {runId, path, …}, also one of another run of the same tree.
"""

from __future__ import annotations

import hashlib
import mimetypes
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Sum

from executions.engine import db
from executions.errors import Conflict, Invalid, NotFound, TooLarge
from executions.models import FilePiece, Run, RunFile

Json = Any

PIECE = 1024 * 1024
MAX_PATH = 500
MAX_NAME_BYTES = 255
UNKNOWN_TYPE: Final = "application/octet-stream"
# The table of the standard library without the files of the machine: the same answer everywhere.
_TYPES = mimetypes.MimeTypes()
for _type, _suffix in (
    ("text/markdown", ".md"),
    ("application/yaml", ".yaml"),
    ("application/yaml", ".yml"),
    ("application/x-ndjson", ".jsonl"),
    ("image/webp", ".webp"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ".xlsx"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ".docx"),
):
    _TYPES.add_type(_type, _suffix)


class BadPath(Invalid):
    """The path is none that a run's file can have."""

    code = "bad_path"
    non_retryable = True


class NoSuchFile(NotFound):
    """The run has no file of this path."""

    code = "no_such_file"
    non_retryable = True


class FileExists(Conflict):
    """Another step of the run has written a file of this path."""

    code = "file_exists"
    non_retryable = True


class FileTooLarge(TooLarge):
    """A file, or all files of a run together, would be over a limit."""

    code = "file_too_large"
    non_retryable = True


class RunNotHeld(Conflict):
    """The run is gone, or another worker carries it now."""

    code = "run_not_held"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """What is known of a stored file."""

    run_id: str
    path: str
    size: int
    media_type: str
    sha256: str

    @property
    def name(self) -> str:
        """The path's last part."""
        return self.path.rpartition("/")[2]

    def as_json(self) -> dict[str, Json]:
        """A reference to the file, as nodes hand it on."""
        return {
            "runId": self.run_id,
            "path": self.path,
            "name": self.name,
            "size": self.size,
            "mediaType": self.media_type,
            "sha256": self.sha256,
        }


def clean_path(path: str) -> str:
    """The path in its one spelling. Raises BadPath for one that leads out of the run's folder."""
    if not isinstance(path, str) or not path.strip():
        raise BadPath("A file needs a path, such as 'reports/july.pdf'.", field="path")
    plain = unicodedata.normalize("NFC", path.strip())
    shown = ascii(path[:200])
    if len(plain) > MAX_PATH:
        raise BadPath(f"The path {shown}… is longer than {MAX_PATH} characters.", field="path")
    if "\\" in plain or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in plain):
        raise BadPath(
            f"The path {shown} has a backslash or a control character in it.", field="path"
        )
    if plain.startswith(("/", "~")) or plain[1:2] == ":":
        raise BadPath(
            f"The path {shown} is absolute; a run's files have relative paths, such as "
            "'reports/july.pdf'.",
            field="path",
        )
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if not parts or ".." in (part.strip() for part in parts):
        raise BadPath(f"The path {shown} leads out of the run's folder.", field="path")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        raise BadPath(f"A part of the path {shown} is too long for a name.", field="path")
    return "/".join(parts)


def type_of(path: str) -> str:
    """The media type that a path's ending stands for."""
    return _TYPES.guess_type(path)[0] or UNKNOWN_TYPE


# ---- writing ------------------------------------------------------------------------------------

_ADD_PIECE = """
INSERT INTO executions_filepiece (run_id, path, number, content) VALUES (%s, %s, %s, %s)
"""
# One statement sees one moment, so that a file being replaced is read old or new, never mixed.
_READ = """
SELECT f.run_id, f.path, f.size, f.media_type, f.sha256, p.content
FROM executions_runfile f LEFT JOIN executions_filepiece p USING (run_id, path)
WHERE f.run_id = %s AND f.path = %s ORDER BY p.number
"""
_COPY: Final = (
    """
INSERT INTO executions_runfile (run_id, path, size, media_type, sha256, step, written_at)
SELECT %(to)s, path, size, media_type, sha256, step, written_at
FROM executions_runfile WHERE run_id = %(from)s ON CONFLICT DO NOTHING
""",
    """
INSERT INTO executions_filepiece (run_id, path, number, content)
SELECT %(to)s, path, number, content
FROM executions_filepiece WHERE run_id = %(from)s ON CONFLICT DO NOTHING
""",
)


def write(
    run_id: str, path: str, data: bytes, *, media_type: str | None = None, overwrite: bool = True,
    step: str = "", claim: str | None = None,
) -> File:  # fmt: skip
    """Store a file, whole or not at all; writing the same again changes nothing.

    `step` names the writer: without `overwrite`, only it may write the file again. With `claim`,
    nothing is written once another worker holds the run. Raises BadPath, FileTooLarge, FileExists
    or RunNotHeld.
    """
    file = File(
        run_id=run_id,
        path=clean_path(path),
        size=len(data),
        media_type=media_type or type_of(path),
        sha256=hashlib.sha256(data).hexdigest(),
    )
    limit = settings.FLOWMAESTRO.FILE_LIMIT
    if file.size > limit:
        raise FileTooLarge(
            f"The file {file.path!r} has {file.size:,} bytes, over the limit of {limit:,}.",
            field="path",
        )
    with transaction.atomic():
        # The writers of one run go one after the other; the run's own row stays free.
        db.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"files {run_id}"])
        held = Run.objects.filter(pk=run_id, **({} if claim is None else {"claim": claim}))
        if not held.exists():
            raise RunNotHeld(f"The run {run_id} is gone, or another worker carries it now.")
        known = RunFile.objects.filter(run_id=run_id, path=file.path).first()
        if known is not None and not overwrite and (not step or known.step != step):
            raise FileExists(
                f"The run has a file {file.path!r} already; choose another path, or allow "
                "overwriting.",
                field="path",
            )
        _check_quota(file)
        if known is None or (known.sha256, known.size) != (file.sha256, file.size):
            _replace_content(file, data)
        RunFile.objects.update_or_create(
            run_id=run_id,
            path=file.path,
            defaults={
                "size": file.size,
                "media_type": file.media_type,
                "sha256": file.sha256,
                "step": step,
            },
        )
    return file


def _check_quota(file: File) -> None:
    options = settings.FLOWMAESTRO
    others = RunFile.objects.filter(run_id=file.run_id).exclude(path=file.path)
    used = others.aggregate(count=Count("path"), size=Sum("size"))
    if used["count"] >= options.RUN_FILES_COUNT:
        raise FileTooLarge(f"The run has {options.RUN_FILES_COUNT:,} files, as many as it may.")
    total = (used["size"] or 0) + file.size
    if total > options.RUN_FILES_LIMIT:
        raise FileTooLarge(
            f"With {file.path!r} the run's files would have {total:,} bytes, over the limit of "
            f"{options.RUN_FILES_LIMIT:,}; remove some first."
        )


def _replace_content(file: File, data: bytes) -> None:
    FilePiece.objects.filter(run_id=file.run_id, path=file.path).delete()
    view = memoryview(data)
    for number, at in enumerate(range(0, len(data), PIECE)):
        db.execute(_ADD_PIECE, [file.run_id, file.path, number, bytes(view[at : at + PIECE])])


def delete(run_id: str, path: str) -> bool:
    """Remove a file; whether there was one."""
    plain = clean_path(path)
    with transaction.atomic():
        FilePiece.objects.filter(run_id=run_id, path=plain).delete()
        count, _ = RunFile.objects.filter(run_id=run_id, path=plain).delete()
    return count > 0


def copy(source: str, target: str) -> None:
    """Give a run the files of another, where it has none of that path; for forks."""
    with connection.cursor() as cursor:
        for statement in _COPY:
            cursor.execute(statement, {"from": source, "to": target})


# ---- reading ------------------------------------------------------------------------------------


def find(run_id: str, path: str) -> File:
    """What is known of a file. Raises NoSuchFile."""
    plain = clean_path(path)
    row = RunFile.objects.filter(run_id=run_id, path=plain).first()
    if row is None:
        raise _missing(run_id, plain)
    return _file(row)


def read(run_id: str, path: str, *, limit: int | None = None) -> tuple[File, bytes]:
    """A file and its content. Raises NoSuchFile, or FileTooLarge when it has more bytes."""
    plain = clean_path(path)
    if limit is not None and (size := find(run_id, plain).size) > limit:
        raise FileTooLarge(
            f"The file {plain!r} has {size:,} bytes, over the limit of {limit:,} set for reading.",
            field="path",
        )
    rows = db.execute(_READ, [run_id, plain])
    if not rows:
        raise _missing(run_id, plain)
    found = File(
        run_id=rows[0][0],
        path=rows[0][1],
        size=rows[0][2],
        media_type=rows[0][3],
        sha256=rows[0][4],
    )
    return found, b"".join(bytes(row[5]) for row in rows if row[5] is not None)


def list_files(run_id: str) -> list[File]:
    """The files of a run, by path."""
    return [_file(row) for row in RunFile.objects.filter(run_id=run_id).order_by("path")]


def holder(run_id: str, named: str | None) -> str:
    """The run whose file a reference in `run_id` means: the named one, if of the same tree.

    A fork has files of its own, copied; in it, references to the first run mean its own.
    """
    if named is None or named == run_id:
        return run_id
    rows = Run.objects.filter(pk__in=(run_id, named)).values_list("pk", "root_id")
    roots = {root or run for run, root in rows}
    return named if len(rows) == 2 and len(roots) == 1 else run_id


def _file(row: RunFile) -> File:
    return File(
        run_id=row.run_id,
        path=row.path,
        size=row.size,
        media_type=row.media_type,
        sha256=row.sha256,
    )


def _missing(run_id: str, path: str) -> NoSuchFile:
    known = RunFile.objects.filter(run_id=run_id).order_by("path").values_list("path", flat=True)
    return NoSuchFile(f"The run has no file {path!r}; it has {_listed(known[:10])}.", field="path")


def _listed(paths: Iterable[str]) -> str:
    return ", ".join(repr(path) for path in paths) or "none"
