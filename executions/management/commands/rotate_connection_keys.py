"""manage.py rotate_connection_keys: puts all that is sealed under the current master key."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from executions import connections, console, tokens
from executions.console import ServiceCommand


class Command(ServiceCommand):
    """Safe to repeat, and beside running workers."""

    help = (
        "Wrap the key of everything that is sealed (connections, API keys, secrets of webhooks) "
        "with the first key of FLOWMAESTRO_ENCRYPTION_KEYS. When it exits with 0, the other keys "
        "may be taken out; what it says of wait tokens goes on working without them."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Why."""
        super().add_arguments(parser)
        parser.add_argument("--reason", metavar="TEXT", help="stored in the audit log")

    def work(self, options: dict[str, Any]) -> bool:
        """Rotates; not well when a row does not open."""
        outcome = connections.rotate(reason=options["reason"], actor=console.actor())
        older = tokens.count_open_of_other_keys(outcome["key"])
        self.document(lambda: {**outcome, "openTokensOfOtherKeys": older})
        self.say(f"{outcome['rotated']:,} secrets are now under the key {outcome['key']!r}.")
        if older:
            self.say(
                f"{older:,} open wait tokens have addresses that come from other keys. They go on "
                "working; only to be given out again an address needs its key."
            )
        for sentence in outcome["failed"].values():
            self.say(sentence)
        return not outcome["failed"]
