"""manage.py prune: removes runs that ended long ago, with all that hangs on them."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from executions import prune
from executions.console import ServiceCommand
from executions.prune import Removed
from executions.rules import durations
from executions.rules.statuses import FINAL


class Command(ServiceCommand):
    """Workers do the same by themselves, a little each minute."""

    help = (
        "Remove final runs past their retention, with their steps, events and tokens. Workers do "
        "so by themselves; this does it now, or with other lengths of time."
    )
    is_long = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How old is old."""
        super().add_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="only count")
        parser.add_argument(
            "--older-than", metavar="[STATUS=]LENGTH", action="append", default=[],
            help="30d for every status, FAILED=7d for one; repeatable. Otherwise: "
            "FLOWMAESTRO_RETENTION_DAYS, FLOWMAESTRO_RETENTION_FAILED_DAYS",
        )  # fmt: skip

    def work(self, options: dict[str, Any]) -> bool:
        """Removes, or counts."""
        removed = prune.prune(
            _lengths(options["older_than"]), dry_run=options["dry_run"],
            on_progress=lambda removed: self.progress(f"{removed.total:,} runs removed"),
        )  # fmt: skip
        self.document(lambda: {"dryRun": options["dry_run"], **asdict(removed)})
        self._show(removed, "would go" if options["dry_run"] else "removed")
        return True

    def _show(self, removed: Removed, verb: str) -> None:
        for status, count in removed.runs.items():
            self.say(f"{count:>9,}  {status} runs {verb}")
        for name, count in (
            ("expired idempotency keys", removed.keys), ("tokens of no run", removed.tokens),
            ("dead workers", removed.workers), *removed.others.items(),
        ):  # fmt: skip
            if count:
                self.say(f"{count:>9,}  {name} {verb}")
        rest = (removed.keys, removed.tokens, removed.workers, *removed.others.values())
        if not (removed.total or any(rest)):
            self.say("Nothing is past its retention.")


def _lengths(texts: list[str]) -> dict[str, timedelta]:
    lengths: dict[str, timedelta] = {}
    # One for every status first, whatever the order.
    for text in sorted(texts, key=lambda text: "=" in text):
        status, separator, length = text.rpartition("=")
        span = timedelta(seconds=durations.seconds(length, field="--older-than"))
        lengths |= {status.upper(): span} if separator else dict.fromkeys(sorted(FINAL), span)
    return lengths
