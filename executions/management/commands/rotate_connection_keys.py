"""manage.py rotate_connection_keys: puts every connection under the current master key."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from executions import connections, console
from executions.console import ServiceCommand


class Command(ServiceCommand):
    """Safe to repeat, and beside running workers."""

    help = (
        "Wrap the key of every connection with the first key of FLOWMAESTRO_ENCRYPTION_KEYS. When "
        "it exits with 0, the other keys may be taken out."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Why."""
        super().add_arguments(parser)
        parser.add_argument("--reason", metavar="TEXT", help="stored in the audit log")

    def work(self, options: dict[str, Any]) -> bool:
        """Rotates; not well when a row does not open."""
        outcome = connections.rotate(reason=options["reason"], actor=console.actor())
        self.document(lambda: outcome)
        self.say(f"{outcome['rotated']:,} connections are now under the key {outcome['key']!r}.")
        for sentence in outcome["failed"].values():
            self.say(sentence)
        return not outcome["failed"]
