"""manage.py import_workflows PATH…: stores definitions from files as versions of workflows."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from executions import definition_files, standalone, workflows
from executions.definition_files import DefinitionFile
from executions.errors import FlowMaestroError, Invalid
from executions.terminal import printable

Json = Any
BAD_INPUT = 2


class Command(BaseCommand):
    """Imports files and folders; each file by itself, so that a bad one stops no other."""

    help = (
        "Store workflow definitions from files or folders, each as the next version of the "
        "workflow of its name; one that has not changed since is left alone. Exits with 0 when "
        "all were stored, 1 when one was refused, 2 when a path or the owner is wrong."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The files and folders, whose they become, and how to print."""
        parser.add_argument("paths", metavar="PATH", nargs="+", help="a file, or a folder of them")
        parser.add_argument("--owner", metavar="NAME", help="the user who owns them; else nobody")
        parser.add_argument("--dry-run", action="store_true", help="say what would be stored")
        parser.add_argument("--json", action="store_true", help="print one JSON document")

    def handle(self, *args: Any, **options: Any) -> None:
        """A line per file."""
        try:
            paths = list(definition_files.find(options["paths"]))
        except Invalid as error:
            raise CommandError(error.message, returncode=BAD_INPUT) from error
        reports: list[dict[str, Json]] = []
        with standalone.database(lambda line: self.stderr.write(line, style_func=str)):
            owner = self._owner(options["owner"])
            for path in paths:
                report = self._import(definition_files.load(path), owner, is_dry=options["dry_run"])
                reports.append(report)
                if not options["json"]:
                    self._show(report)
        if options["json"]:
            self.stdout.write(json.dumps(reports, ensure_ascii=False, indent=2))
        if any(report["status"] == "refused" for report in reports):
            sys.exit(1)

    def _owner(self, name: str | None) -> int | None:
        if name is None:
            return None
        users = get_user_model()
        owner = users.objects.filter(**{users.USERNAME_FIELD: name}).first()
        if owner is None:
            raise CommandError(f"There is no user {name!r}.", returncode=BAD_INPUT)
        return int(owner.pk)

    def _import(self, file: DefinitionFile, owner: int | None, *, is_dry: bool) -> dict[str, Json]:
        issues = [issue.as_json() for issue in file.issues]
        report = {"path": str(file.path), "name": file.name, "issues": issues}
        if file.errors:
            return {**report, "status": "refused"}
        if is_dry:
            return {**report, "status": "valid"}
        try:
            version, is_new = workflows.import_workflow(file.name, file.definition, owner=owner)
        except FlowMaestroError as error:
            issue = {"code": error.code, "node": None, "severity": "error"}
            return {
                **report, "status": "refused", "issues": [{**issue, "message": error.message}],
            }  # fmt: skip
        return {
            **report, "status": "stored" if is_new else "unchanged",
            "workflowId": version.workflow_id, "versionId": version.pk, "number": version.number,
        }  # fmt: skip

    def _show(self, report: dict[str, Json]) -> None:
        line = f"{report['path']}: {report['status']} ({report['name']}"
        if "number" in report:
            line += f", version {report['number']}, {report['workflowId']}"
        self.stdout.write(printable(line + ")"))
        for issue in report["issues"]:
            where = f" {issue['node']}:" if issue["node"] else ""
            self.stdout.write(
                printable(f"  {issue['severity']} {issue['code']}{where} {issue['message']}")
            )
