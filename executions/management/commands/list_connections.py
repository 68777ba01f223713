"""manage.py list_connections: what is stored, without secrets."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from executions import connections, workspaces
from executions.connections import ANYONE
from executions.console import ServiceCommand
from executions.management.commands.add_connection import owner_id


class Command(ServiceCommand):
    """A line per connection."""

    help = "List the stored connections: names, providers, fields, and the names of secrets."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whose, and for which provider."""
        super().add_arguments(parser)
        parser.add_argument("--provider", metavar="P")
        parser.add_argument("--owner", metavar="USER", help="what this user may use")
        parser.add_argument("--workspace", metavar="ID", help="what this workspace may use")

    def work(self, options: dict[str, Any]) -> bool:
        """Lists them."""
        where: connections.Where = ANYONE
        if options["owner"] is not None or options["workspace"] is not None:
            owner = None if options["owner"] is None else owner_id(options["owner"])
            where = workspaces.place_of(owner, options["workspace"])
        rows = connections.list_connections(workspace=where, provider=options["provider"])
        self.document(lambda: [connections.public(row) for row in rows])
        for row in rows:
            fields = ", ".join(f"{name}={value}" for name, value in row.fields.items())
            hidden = ", ".join(f"{name}=••••" for name in row.secret_names)
            whose = "shared" if row.workspace is None else row.workspace.name
            state = "  revoked" if row.revoked_at else ""
            what = ", ".join(part for part in (fields, hidden) if part)
            self.say(f"{row.id}  {row.name} ({row.provider}, {whose}){state}  {what}")
        if not rows:
            self.say("There is no connection; `manage.py add_connection` stores one.")
        return True
