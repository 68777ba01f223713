"""The operators' admin of this app: triggers and what came in for them; schedules."""

from __future__ import annotations

from triggers.admin import deliveries, schedules, specs, triggers

__all__ = ["deliveries", "schedules", "specs", "triggers"]
