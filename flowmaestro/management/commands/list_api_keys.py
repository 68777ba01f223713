"""manage.py list_api_keys: who has which key, what it may do, when it was used."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from executions.console import ServiceCommand
from flowmaestro import keys, people
from flowmaestro.models import ApiKey


class Command(ServiceCommand):
    """The keys themselves are stored nowhere in the clear."""

    help = "List API keys, the newest first, without the keys themselves."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Of whom."""
        super().add_arguments(parser)
        parser.add_argument("--user", metavar="USER", help="only of this user")
        parser.add_argument("--workspace", metavar="ID", help="only of this workspace")

    def work(self, options: dict[str, Any]) -> bool:
        """Lists them."""
        user = None if options["user"] is None else people.named(options["user"]).pk
        rows = list(keys.list_keys(workspace=options["workspace"], user=user))
        self.document(lambda: [keys.public(row) for row in rows])
        for row in rows:
            self.say(_line(row))
        return True


def _line(row: ApiKey) -> str:
    where = "all workspaces" if row.all_workspaces else str(row.workspace_id)
    used = f"used {row.last_used_at:%Y-%m-%d %H:%M}" if row.last_used_at else "never used"
    state = f"revoked {row.revoked_at:%Y-%m-%d %H:%M}" if row.revoked_at else used
    scopes = ",".join(row.scopes)
    return f"{row.pk}  {row.prefix}…  {row.user}  {row.name}  {where}  {scopes}  {state}"
