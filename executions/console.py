"""What the management commands share: a database, lines or one JSON document, progress, errors."""

from __future__ import annotations

import getpass
import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, OutputWrapper

from executions import standalone
from executions.audit import Actor
from executions.errors import FlowMaestroError, Invalid
from executions.rules.values import Json
from executions.terminal import printable

BAD_INPUT = 2
INTERRUPTED = 130
_TERMINAL_SECONDS, _LINE_SECONDS = 0.1, 2.0


class Progress:
    """How far a long command has come, on standard error: only at a terminal, or when asked for."""

    def __init__(self, out: OutputWrapper, *, is_wanted: bool) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._is_shown = is_wanted or self._is_terminal
        self._shown_at = 0.0
        self._width = 0

    def __call__(self, text: str) -> None:
        """Shows it, unless something else was shown a moment ago."""
        pause = _TERMINAL_SECONDS if self._is_terminal else _LINE_SECONDS
        now = time.monotonic()
        if not self._is_shown or (self._shown_at and now - self._shown_at < pause):
            return
        self._shown_at = now
        if self._is_terminal:
            self._out.write(f"\r{text:<{self._width}}", style_func=str, ending="")
            self._width = len(text)
        else:
            self._out.write(text, style_func=str)
        self._out.flush()

    def clear(self) -> None:
        """Makes room for what is said next."""
        if self._width:
            self._out.write("\r" + " " * self._width + "\r", style_func=str, ending="")
            self._out.flush()
            self._width = 0


class ServiceCommand(BaseCommand):
    """Parses, calls a service, prints. Works beside running workers, and also alone."""

    # Checks may ask the database, which the command may have to start first.
    requires_system_checks = ()
    is_long = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What every command takes."""
        parser.add_argument(
            "--json",
            action="store_true",
            help="print one JSON document; everything else goes to stderr",
        )
        if self.is_long:
            parser.add_argument(
                "--progress", action="store_true", help="show progress also without a terminal"
            )

    def handle(self, *args: Any, **options: Any) -> None:
        """Does the work; exits with 1 when it says so, with 2 when what it was given is wrong."""
        self.as_json = bool(options["json"])
        self.progress = Progress(self.stderr, is_wanted=bool(options.get("progress")))
        try:
            with standalone.database(self.note):
                is_well = self.work(options)
        except Invalid as error:
            raise CommandError(printable(error.message), returncode=BAD_INPUT) from error
        except FlowMaestroError as error:
            raise CommandError(printable(error.message)) from error
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        finally:
            self.progress.clear()
        if not is_well:
            sys.exit(1)

    def work(self, options: dict[str, Any]) -> bool:
        """What the command does; whether all is well."""
        raise NotImplementedError

    # ---- out ------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """A line for people; with --json there are none."""
        if not self.as_json:
            self.progress.clear()
            self.stdout.write(printable(line), style_func=str)

    def note(self, line: str) -> None:
        """A line that is no part of the result."""
        out = self.stderr if self.as_json else self.stdout
        out.write(printable(line), style_func=str)
        out.flush()

    def document(self, make: Callable[[], Json]) -> None:
        """The result as JSON, when that is asked for."""
        if self.as_json:
            self.progress.clear()
            self.stdout.write(json.dumps(make(), ensure_ascii=False, indent=2))


def parsed(text: str, option: str) -> Json:
    """The JSON of an option. Raises Invalid naming the option."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{option} is not JSON: {error}", field=option) from error


def actor() -> Actor:
    """Who calls the command: the user of the operating system."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # A container's user may have no name.
        name = "somebody"
    return Actor(f"{name} on the command line")
