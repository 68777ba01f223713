"""Sunrise, sunset and their like at a place. The astronomy is that of libastro, by `ephem`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import ephem

from executions.errors import Invalid

# Which search, the height of the sun in degrees, and whether its centre or its rim counts.
_EVENTS: Final = {
    "dawn_astronomical": ("next_rising", "-18", True),
    "dawn_nautical": ("next_rising", "-12", True),
    "dawn_civil": ("next_rising", "-6", True),
    # The rim, and what the air bends at the horizon: the Naval Observatory's way.
    "sunrise": ("next_rising", "-0:34", False),
    "solar_noon": ("next_transit", "0", None),
    "sunset": ("next_setting", "-0:34", False),
    "dusk_civil": ("next_setting", "-6", True),
    "dusk_nautical": ("next_setting", "-12", True),
    "dusk_astronomical": ("next_setting", "-18", True),
}
EVENTS: Final = tuple(_EVENTS)
# In polar day and night an event stays away for months.
_SEARCH_DAYS: Final = 400
# The search gives the same event to a fraction of a second only.
_SAME: Final = timedelta(seconds=2)
_APART: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Solar:
    """An event of the sun's day at a place, to the second."""

    event: str
    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        if self.event not in _EVENTS:
            known = ", ".join(EVENTS)
            raise Invalid(f"There is no event {self.event!r}; there are {known}.", field="solar")
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise Invalid(
                "latitude lies between -90 and 90, longitude between -180 and 180.", field="solar"
            )

    def after(self, moment: datetime) -> datetime | None:
        """The first one after a moment; None when there is none for over a year."""
        found = self._search(moment)
        if found is not None and found - moment <= _SAME:
            found = self._search(moment + _APART)
        return found

    def _search(self, moment: datetime) -> datetime | None:
        method, height, use_center = _EVENTS[self.event]
        place: Any = ephem.Observer()
        place.lat, place.lon = str(self.latitude), str(self.longitude)
        place.horizon, place.pressure, place.elevation = height, 0, 0
        sun = ephem.Sun()
        options = {} if use_center is None else {"use_center": use_center}
        start = ephem.Date(moment.astimezone(UTC).replace(tzinfo=None))
        for _ in range(_SEARCH_DAYS):
            try:
                return _moment(getattr(place, method)(sun, start=start, **options))
            except ephem.CircumpolarError:
                start = place.next_antitransit(sun, start=start)
        return None


def _moment(found: Any) -> datetime:
    at: datetime = found.datetime()
    whole = at.replace(microsecond=0, tzinfo=UTC)
    return whole + timedelta(seconds=math.ceil(at.microsecond / 1_000_000))
