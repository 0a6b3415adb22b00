"""Which items may answer: by variety, site, speaker and time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from isogloss.errors import UnknownName
from isogloss.search.store_segment import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from isogloss.search.store_segment import Segment

__all__ = ["Filter", "masks_of", "seconds_of"]

_MOST_NAMES_TO_COMPARE = 2000


def seconds_of(value: float | str | datetime, what: str = "time") -> float:
    """Seconds since 1970 UTC of a number of seconds, an ISO 8601 text or a datetime.

    A text or datetime without a zone is taken as UTC; a date alone is its first moment.

    Args:
        value: the time.
        what: how messages call it.

    Raises:
        ValueError: it is none of these, or not finite.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(
                f"{what} {value!r} is not ISO 8601; write 2024-05-01 or 2024-05-01T13:30:00+08:00"
            ) from None
    if isinstance(value, datetime):
        value = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        try:
            return value.timestamp()
        except OverflowError as error:
            raise ValueError(f"{what} {value.isoformat()} is out of range") from error
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{what} {value!r} is no time; give ISO 8601 or seconds since 1970")
    return float(value)


@dataclass(frozen=True, slots=True)
class Filter:
    """What an item must be to be chosen; the empty filter chooses all.

    Values of one field are alternatives, fields must all hold. An item without a site is in no
    site, and likewise for speakers. The time of an item is `extra["recorded"]` (ISO 8601), or when
    it was first appended.

    Attributes:
        varieties: codes of varieties.
        sites: names of sites.
        speakers: names of speakers.
        after: at this time or later: ISO 8601, a datetime, or seconds since 1970 UTC; kept as
            seconds.
        before: before this time.

    Raises:
        ValueError: a string where several names go, an unreadable time, or an empty span.
    """

    varieties: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    after: float | str | datetime | None = None
    before: float | str | datetime | None = None

    def __post_init__(self) -> None:
        for name in ("varieties", "sites", "speakers"):
            values = getattr(self, name)
            if isinstance(values, str):
                raise ValueError(f"{name} is the string {values!r}; give a tuple: ({values!r},)")
            values = tuple(values)
            if any(not isinstance(value, str) for value in values):
                raise ValueError(f"{name} must be strings, got {values!r}")
            object.__setattr__(self, name, values)
        for name in ("after", "before"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, seconds_of(value, name))
        after, before = self.span
        if after >= before:
            raise ValueError(
                f"no time is at or after {_shown(after)} and before {_shown(before)}; after must "
                "be the earlier of the two"
            )

    @property
    def names(self) -> tuple[tuple[str, ...], ...]:
        """Names asked for: varieties, sites, speakers."""
        return self.varieties, self.sites, self.speakers

    @property
    def span(self) -> tuple[float, float]:
        """Seconds since 1970 from which and up to which; infinite where nothing was said."""
        after = -math.inf if self.after is None else seconds_of(self.after)
        before = math.inf if self.before is None else seconds_of(self.before)
        return after, before

    def __bool__(self) -> bool:
        return any(self.names) or self.after is not None or self.before is not None


def _shown(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):  # a number of seconds beyond the year 9999
        return str(seconds)


def masks_of(
    segments: Sequence[Segment], wanted: Filter | None
) -> tuple[npt.NDArray[np.bool_] | None, ...]:
    """For each segment the (count,) rows that are alive and chosen, or None where all rows are.

    Raises:
        UnknownName: no segment has an item of a variety, site or speaker that is asked for.
    """
    if not wanted:
        return tuple(segment.alive if segment.deleted else None for segment in segments)
    for field, names in zip(FIELDS, wanted.names, strict=True):
        _refuse_unknown(segments, field, names)
    return tuple(_mask(segment, wanted) for segment in segments)


def _refuse_unknown(segments: Sequence[Segment], field: str, names: Iterable[str]) -> None:
    missing = set(names)
    for segment in segments:
        missing = {name for name in missing if name not in segment.places(field)}
    if not missing:
        return
    name = min(missing)
    known = {value for segment in segments for value in segment.tables[field]}
    if len(known) > _MOST_NAMES_TO_COMPARE:
        # Comparing with a million speakers would take minutes; the like begin alike.
        like = [value for value in known if value[:2] == name[:2]]
        known = set(sorted(like or known)[:_MOST_NAMES_TO_COMPARE])
    raise UnknownName(field, name, known)


def _mask(segment: Segment, wanted: Filter) -> npt.NDArray[np.bool_] | None:
    mask = segment.alive
    for field, names in zip(FIELDS, wanted.names, strict=True):
        if names:
            places = segment.places(field)
            # One place more than there are values: code -1, no value, finds the False there.
            allowed = np.zeros(len(places) + 1, dtype=np.bool_)
            allowed[[places[name] for name in names if name in places]] = True
            mask = mask & allowed[segment.codes[field]]
    after, before = wanted.span
    if math.isfinite(after):
        mask = mask & (segment.times >= after)
    if math.isfinite(before):
        mask = mask & (segment.times < before)
    if mask is not segment.alive:
        mask.setflags(write=False)
    return None if mask.all() else mask
