"""What things are: triggers, what came in for them, schedules and what became of their times."""

from triggers.models.deliveries import Delivery, Receipt
from triggers.models.schedules import Origin, Outcome, Schedule, ScheduleFire
from triggers.models.triggers import Firing, Trigger

__all__ = [
    "Delivery",
    "Firing",
    "Origin",
    "Outcome",
    "Receipt",
    "Schedule",
    "ScheduleFire",
    "Trigger",
]
