"""manage.py add_connection NAME --provider P: stores credentials; secrets come from a file."""

from __future__ import annotations

import getpass
import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model

from executions import connections, console, workspaces
from executions.console import ServiceCommand
from executions.errors import Invalid, NotFound
from executions.rules.values import Json

MAX_FILE = 100_000


class Command(ServiceCommand):
    """Stores a connection, or changes the one of that name."""

    help = (
        "Store a connection that nodes name by its name or id. A secret is read from standard "
        "input (-) or from a file (@PATH), never from the command line, where others see it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What it is called, whose it is, what is in it."""
        super().add_arguments(parser)
        parser.add_argument("name", metavar="NAME")
        parser.add_argument("--provider", metavar="P", help="postgresql, http, or an API's name")
        parser.add_argument(
            "--field", dest="fields", metavar="KEY=VALUE", action="append", default=[],
            help="what is no secret: host=…, user=…, baseUrl=…; repeatable",
        )  # fmt: skip
        parser.add_argument(
            "--secret", dest="secrets", metavar="KEY=-", action="append", default=[],
            help="- reads a line of standard input, @PATH a file; repeatable",
        )  # fmt: skip
        parser.add_argument("--owner", metavar="USER", help="whose it is; otherwise everybody's")
        parser.add_argument("--workspace", metavar="ID", help="whose it is, instead of a user")
        parser.add_argument(
            "--replace", action="store_true",
            help="change the connection of this name: the fields and secrets given replace all",
        )  # fmt: skip
        parser.add_argument("--reason", metavar="TEXT", help="stored in the audit log")

    def work(self, options: dict[str, Any]) -> bool:
        """Stores it and says what is there, without secrets."""
        owner = None if options["owner"] is None else owner_id(options["owner"])
        fields = dict(_field(text) for text in options["fields"])
        workspace = workspaces.place_of(owner, options["workspace"])
        secrets = dict(_secret(text) for text in options["secrets"])
        who = {"reason": options["reason"], "actor": console.actor()}
        if options["replace"]:
            held = [
                row.id
                for row in connections.list_connections(workspace=workspace)
                if row.name == options["name"] and row.workspace_id == workspace
            ]
            if not held:
                raise NotFound(f"There is no connection {options['name']!r} to replace.")
            row = connections.update(
                held[0], fields=fields, secrets=secrets, replace_secrets=True, **who
            )
        else:
            if not options["provider"]:
                raise Invalid("--provider is missing.", field="--provider")
            row = connections.create(
                options["name"], options["provider"], fields=fields, secrets=secrets, owner=owner,
                workspace=workspace, **who,
            )  # fmt: skip
        self.document(lambda: connections.public(row))
        self.say(f"{row.id}  {row.name} ({row.provider})")
        if workspace is None and secrets and not {"baseUrl", "base_url", "host"} & fields.keys():
            self.note(
                "It is everybody's, and no field baseUrl or host says where its secrets may go: "
                "whoever runs workflows can send them anywhere."
            )
        return True


def owner_id(name: str) -> int:
    """The primary key of a user. Raises NotFound."""
    users = get_user_model()
    found = users.objects.filter(**{users.USERNAME_FIELD: name}).values_list("pk", flat=True)
    if not found:
        raise NotFound(f"There is no user {name!r}.", field="--owner")
    return int(found[0])


def _field(text: str) -> tuple[str, Json]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise Invalid(f"--field takes KEY=VALUE, not {text!r}.", field="--field")
    # Numbers, true and false become what they say; everything else stays text.
    try:
        read = json.loads(value)
    except ValueError:
        return key, value
    return key, read if isinstance(read, int | float) else value


def _secret(text: str) -> tuple[str, str]:
    key, separator, source = text.partition("=")
    if not separator or not key or not (source == "-" or source.startswith("@")):
        # The text may hold the secret itself, so it is not repeated.
        raise Invalid(
            "--secret takes KEY=- for standard input or KEY=@PATH for a file; a secret on the "
            "command line would be seen by everybody on this machine.",
            field="--secret",
        )
    value = _line(key) if source == "-" else _file(source[1:])
    if not value:
        raise Invalid(f"There is nothing to read for the secret {key}.", field="--secret")
    return key, value


def _line(key: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"{key}: ")
    return sys.stdin.readline(MAX_FILE).rstrip("\r\n")


def _file(name: str) -> str:
    try:
        path = Path(name)
        if path.stat().st_size > MAX_FILE:
            raise Invalid(f"{name} is over {MAX_FILE:,} bytes.", field="--secret")
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{name} cannot be read: {error}.", field="--secret") from error
