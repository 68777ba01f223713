"""manage.py describe_nodes [TYPE…]: the catalogue of node types, with the schema of each config."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from executions import node_catalogue
from executions.errors import NotFound

Json = Any
BAD_INPUT = 2


class Command(BaseCommand):
    """Prints what each node type is and takes; needs no database."""

    help = "List the node types with their settings. Exits with 2 when a type is not known."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which types, and how to print."""
        parser.add_argument("types", metavar="TYPE", nargs="*", help="a type, or a synonym of one")
        parser.add_argument("--json", action="store_true", help="print JSON Schemas, one document")

    def handle(self, *args: Any, **options: Any) -> None:
        """A paragraph per type, or one JSON document."""
        try:
            names = options["types"]
            found = [node_catalogue.describe_one(name) for name in names]
        except NotFound as error:
            raise CommandError(error.message, returncode=BAD_INPUT) from error
        types = found if names else node_catalogue.describe_all()
        if options["json"]:
            self.stdout.write(json.dumps(types, ensure_ascii=False, indent=2))
            return
        for entry in types:
            self._show(entry)

    def _show(self, entry: dict[str, Json]) -> None:
        also = f" ({', '.join(entry['synonyms'])})" if entry["synonyms"] else ""
        self.stdout.write(f"{entry['type']}{also}: {entry['description']}")
        if entry["missing"]:
            self.stdout.write(f"    {entry['missing']}")
        required = set(entry["config"].get("required", ()))
        for name, field in entry["config"].get("properties", {}).items():
            told = field.get("description") or field.get("title") or ""
            must = " (required)" if name in required else ""
            default = field.get("default")
            given = "" if default in (None, "", [], {}) else f" [{json.dumps(default)}]"
            self.stdout.write(f"    {name}{must}: {told}{given}")
