"""manage.py register_api PROVIDER FILE: makes the operations of an OpenAPI document callable."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from executions import api_descriptions, console
from executions.connectors.openapi.document import MAX_BYTES
from executions.console import ServiceCommand
from executions.errors import Invalid


class Command(ServiceCommand):
    """Registers a document, in place of an earlier one of that name."""

    help = (
        "Register an OpenAPI 3.0 or 3.1 document, in JSON or YAML, under the name of a provider: "
        "its operations become operations of integration nodes with that provider."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The name, the file, where the API is."""
        super().add_arguments(parser)
        parser.add_argument("provider", metavar="PROVIDER")
        parser.add_argument("file", metavar="FILE", help="- reads standard input")
        parser.add_argument("--base-url", default="", help="instead of the document's servers")
        parser.add_argument("--reason", metavar="TEXT", help="stored in the audit log")

    def work(self, options: dict[str, Any]) -> bool:
        """Registers it and lists its operations."""
        row, operations = api_descriptions.register(
            options["provider"], _read(options["file"]), base_url=options["base_url"],
            reason=options["reason"], actor=console.actor(),
        )  # fmt: skip
        self.document(
            lambda: {
                "id": row.id,
                "provider": row.provider,
                "title": row.title,
                "baseUrl": row.base_url,
                "operations": operations,
            }
        )
        self.say(f"{row.id}  {row.provider} ({row.title}): {len(operations):,} operations")
        for name in operations:
            self.say(f"  {name}")
        return True


def _read(file: str) -> str:
    try:
        if file == "-":
            return sys.stdin.read(MAX_BYTES + 1)
        path = Path(file)
        if path.stat().st_size > MAX_BYTES:
            raise Invalid(f"{file} is over {MAX_BYTES:,} bytes.", field="FILE")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}.", field="FILE") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{file} is not UTF-8 text.", field="FILE") from error
