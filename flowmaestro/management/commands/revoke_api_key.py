"""manage.py revoke_api_key KEY: makes a key, and what was signed with it, useless from now on."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from executions import console
from executions.console import ServiceCommand
from flowmaestro import keys


class Command(ServiceCommand):
    """The key is named by its id, or by its beginning as lists show it."""

    help = "Revoke an API key, and with it every public token that was signed with it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which, and why."""
        super().add_arguments(parser)
        parser.add_argument("key", metavar="KEY", help="its id, or its beginning: fm_…")
        parser.add_argument("--reason", metavar="TEXT", help="stored in the audit log")

    def work(self, options: dict[str, Any]) -> bool:
        """Revokes it; one that is revoked already stays so."""
        found = keys.find(options["key"])
        row = keys.revoke(found.pk, reason=options["reason"], actor=console.actor())
        self.document(lambda: keys.public(row))
        self.say(f"API key {row.pk} ({row.name}) of {row.user} is revoked.")
        return True
