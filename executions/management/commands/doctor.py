"""manage.py doctor: checks every invariant, and says what is wrong and what to do."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from executions import doctor
from executions.console import ServiceCommand
from executions.doctor import Finding, Severity


class Command(ServiceCommand):
    """Examines the database, also while it is at work."""

    help = (
        "Check every invariant of the engine in the database and say what is wrong and what to do. "
        "Exits with 1 when there are errors; warnings alone are 0."
    )
    is_long = True

    def work(self, options: dict[str, Any]) -> bool:
        """Shows the findings; whether none is an error."""
        findings = doctor.check(on_progress=lambda what: self.progress(f"checking {what}"))
        errors = sum(finding.severity == Severity.ERROR for finding in findings)
        warnings = sum(finding.severity == Severity.WARNING for finding in findings)
        self.document(
            lambda: {
                "errors": errors,
                "warnings": warnings,
                "findings": [asdict(finding) for finding in findings],
            }
        )
        for finding in findings:
            self._show(finding)
        self.say(f"{errors} errors, {warnings} warnings." if findings else "All is well.")
        return errors == 0

    def _show(self, finding: Finding) -> None:
        count = f" ({finding.count:,})" if finding.examples else ""
        self.say(f"{finding.severity}: {finding.code}{count}: {finding.message}")
        if finding.examples:
            more = ", ..." if finding.count > len(finding.examples) else ""
            self.say(f"  {', '.join(finding.examples)}{more}")
        self.say(f"  {finding.remedy}")
