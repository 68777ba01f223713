"""manage.py validate_workflow PATH…: what would keep definitions from running; stores nothing."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from executions import definition_files
from executions.errors import Invalid
from executions.terminal import printable

BAD_INPUT = 2


class Command(BaseCommand):
    """Reads definitions and prints each issue; needs no database."""

    help = (
        "Check workflow definitions without running or storing them. Exits with 0 when all can "
        "run, 1 when one cannot, 2 when a path is wrong."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The files and folders, and how to print."""
        parser.add_argument("paths", metavar="PATH", nargs="+", help="a file, or a folder of them")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """A line per file, and one per issue below it."""
        try:
            paths = list(definition_files.find(options["paths"]))
        except Invalid as error:
            raise CommandError(error.message, returncode=BAD_INPUT) from error
        files = [definition_files.load(path) for path in paths]
        if options["json"]:
            document = [
                {
                    "path": str(file.path), "name": file.name, "valid": not file.errors,
                    "issues": [issue.as_json() for issue in file.issues],
                }
                for file in files
            ]  # fmt: skip
            self.stdout.write(json.dumps(document, ensure_ascii=False, indent=2))
        else:
            for file in files:
                self._show(file)
        if any(file.errors for file in files):
            sys.exit(1)

    def _show(self, file: definition_files.DefinitionFile) -> None:
        verdict = "cannot run" if file.errors else "valid"
        self.stdout.write(printable(f"{file.path}: {verdict} ({file.name})"))
        for issue in file.issues:
            where = f" {issue.node}:" if issue.node else ""
            line = f"  {issue.severity} {issue.code}{where} {issue.message}"
            self.stdout.write(printable(line))
