"""manage.py create_api_key USER --name N --scopes read,trigger: prints a new key, once."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from executions import console
from executions.console import ServiceCommand
from executions.rules.scopes import ALL, Scope
from flowmaestro import keys, people


class Command(ServiceCommand):
    """The key goes to standard output alone, so that a script can keep it."""

    help = "Issue an API key. It is printed here, and never shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whose it is, and what it may do."""
        super().add_arguments(parser)
        parser.add_argument("user", metavar="USER")
        parser.add_argument("--name", required=True, help="what it is for, as lists show it")
        parser.add_argument(
            "--scopes", default=ALL, metavar="A,B",
            help=f"{', '.join(Scope)}, or * for all (the default)",
        )  # fmt: skip
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--workspace", metavar="ID", help="otherwise the user's own")
        where.add_argument(
            "--all-workspaces", action="store_true",
            help="of a member of the staff: sees what belongs to any workspace, or to none",
        )  # fmt: skip
        parser.add_argument("--reason", metavar="TEXT", help="stored in the audit log")

    def work(self, options: dict[str, Any]) -> bool:
        """Issues it."""
        scopes = [name.strip() for name in options["scopes"].split(",") if name.strip()]
        row, key = keys.issue(
            people.named(options["user"]), name=options["name"], scopes=scopes,
            workspace=options["workspace"], all_workspaces=options["all_workspaces"],
            reason=options["reason"], actor=console.actor(),
        )  # fmt: skip
        self.document(lambda: {**keys.public(row), "key": key})
        self.say(key)
        return True
