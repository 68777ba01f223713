"""manage.py verify_replays: do recorded runs still decide as they did with today's code?"""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from executions import verification
from executions.console import ServiceCommand
from executions.errors import Invalid
from executions.rules import durations
from executions.verification import Report, Verdict


class Command(ServiceCommand):
    """Replays recorded runs against today's code and reports the first divergence of each."""

    help = (
        "Replay recorded runs against the code as it is now, every step answered from the journal. "
        "Nothing is written and no step runs; code outside of steps does. Exits with 1 when any "
        "run diverged."
    )
    is_long = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which runs."""
        super().add_arguments(parser)
        parser.add_argument(
            "--since", default="7d", metavar="LENGTH",
            help="runs that ended and are younger than this; 7d unless said otherwise. Open runs "
            "are verified whatever their age",
        )  # fmt: skip
        parser.add_argument("--task", metavar="ID", help="only runs of this task")
        parser.add_argument(
            "--status", metavar="STATUS", action="append", default=[], help="repeatable"
        )
        parser.add_argument("--limit", type=int, metavar="N", help="the newest N runs")

    def work(self, options: dict[str, Any]) -> bool:
        """Reports as it goes; whether no run diverged."""
        if options["limit"] is not None and options["limit"] < 1:
            raise Invalid("--limit is 1 or more.", field="--limit")
        since = durations.seconds(options["since"], field="--since")
        self._counts: Counter[str] = Counter()
        reports = verification.verify(
            since=timedelta(seconds=since), task=options["task"], status=options["status"],
            limit=options["limit"], on_report=self._tell,
        )  # fmt: skip
        counts = self._counts
        self.document(
            lambda: {
                "verified": len(reports),
                **{verdict.value: counts[verdict] for verdict in Verdict},
                "runs": [asdict(report) for report in reports if report.verdict != Verdict.OK],
            }
        )
        self.say(
            f"{len(reports)} runs: {counts[Verdict.OK]} decide as they did, "
            f"{counts[Verdict.DIVERGED]} diverged, "
            f"{counts[Verdict.UNVERIFIABLE]} cannot be verified."
        )
        return not counts[Verdict.DIVERGED]

    def _tell(self, report: Report) -> None:
        self._counts[report.verdict] += 1
        if report.verdict != Verdict.OK:
            self.say(f"{report.run}  {report.task}  {report.status}  {report.verdict}")
            self.say(f"  {report.message}")
        self.progress(f"{sum(self._counts.values())} runs verified")
