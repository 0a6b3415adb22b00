"""Fields of a search request in, checked values out; the first wrong one is named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isogloss.errors import UnknownName
from isogloss.search.server.problems import Problem
from isogloss.search.store import Filter, seconds_of

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.search.server.forms import Body

__all__ = ["LONGEST_TEXT", "MOST_NAMES", "Question", "question_of", "single"]

_LISTS = {"variety": "varieties", "site": "sites", "speaker": "speakers"}
_SINGLE = ("id", "text", "k", "after", "before", "transcribe")
MOST_NAMES = 64
"""Values of one filter in one request."""

LONGEST_TEXT = 10_000
"""Characters of an id or a text in one request."""

_LEAP_SECOND = re.compile(r"(:\d\d):60(?=\D|$)")


@dataclass(frozen=True, slots=True)
class Question:
    """What is searched with (one of upload, id, text), how many hits, among which items.

    `transcribe`: the words of a recording are wanted as well. `nothing`: the time asked for ends
    before it begins, so no item can answer.
    """

    upload: Path | None
    item_id: str | None
    text: str | None
    k: int
    wanted: Filter | None
    nothing: bool = False
    transcribe: bool = False


def question_of(body: Body, *, max_hits: int) -> Question:
    """The question in a form or JSON object.

    Raises:
        Problem: 400, with the field at fault: an unknown name, a wrong value, none or several of
            file, id and text.
    """
    known = {*_SINGLE, *_LISTS, *_LISTS.values(), "file"}
    for name in body.fields:
        if name not in known:
            raise Problem(400, "unknown_field", str(UnknownName("field", name, known)), param=name)
    if "file" in body.fields:
        raise Problem(
            400, "bad_field", "send the recording as a file of multipart/form-data", param="file"
        )
    item_id, text = _text(body, "id"), _text(body, "text")
    upload = body.upload
    # A form in a browser sends an empty file where none was chosen.
    if upload is not None and not body.upload_bytes and (item_id or text) is not None:
        upload = None
    given = [value for value in (upload, item_id, text) if value is not None]
    if len(given) != 1:
        found = "none" if not given else f"{len(given)}"
        raise Problem(
            400, "bad_query", f"send exactly one of file, id and text; {found} was sent", param="id"
        )
    after, before = _time(body, "after"), _time(body, "before")
    nothing = after is not None and before is not None and after >= before
    if nothing:
        after = before = None
    varieties, sites, speakers = (_names(body, one, many) for one, many in _LISTS.items())
    wanted = Filter(varieties, sites, speakers, after, before) or None
    hits, transcribe = _hits(body, max_hits), _flag(body, "transcribe")
    return Question(upload, item_id, text, hits, wanted, nothing, transcribe)


def single(body: Body, name: str) -> Any:
    """The one value of a field, None when it is absent.

    Raises:
        Problem: 400, it is there more than once.
    """
    values = body.fields.get(name, [])
    if len(values) > 1:
        raise Problem(400, "bad_field", f"{name} was sent {len(values)} times", param=name)
    return values[0] if values else None


def _text(body: Body, name: str) -> str | None:
    value = single(body, name)
    if value is None and not (body.is_json and name in body.fields):
        return None
    if not isinstance(value, str) or not value:
        raise Problem(400, "bad_field", f"{name} must be a text that is not empty", param=name)
    if len(value) > LONGEST_TEXT:
        raise Problem(
            400, "bad_field", f"{name} is longer than {LONGEST_TEXT} characters", param=name
        )
    return value


def _hits(body: Body, most: int) -> int:
    value = single(body, "k")
    if value is None and "k" not in body.fields:
        return min(10, most)
    if not body.is_json and isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value) if len(value) < 10 else -1
    # JSON has one kind of number: 10.0 is 10.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise Problem(400, "bad_field", f"k must be a whole number from 1 to {most}", param="k")
    return value


def _flag(body: Body, name: str) -> bool:
    value = single(body, name)
    if value is None and name not in body.fields:
        return False
    if not body.is_json:
        value = {"true": True, "false": False}.get(value)
    if not isinstance(value, bool):
        raise Problem(400, "bad_field", f"{name} must be true or false", param=name)
    return value


def _time(body: Body, name: str) -> float | None:
    """Seconds since 1970 of a field; what RFC 3339 allows and Python does not is brought near."""
    text = _text(body, name)
    if text is None:
        return None
    # A leap second, small letters, and the year 0.
    near = _LEAP_SECOND.sub(r"\1:59", text.upper())
    near = f"0001{near[4:]}" if near.startswith("0000-") else near
    try:
        return seconds_of(near, name)
    except ValueError as error:
        raise Problem(400, "bad_filter", str(error), param=name) from error


def _names(body: Body, one: str, many: str) -> tuple[str, ...]:
    found: list[str] = []
    for name in (one, many):
        for value in body.fields.get(name, []):
            values = value if body.is_json and isinstance(value, list) else [value]
            for entry in values:
                if not isinstance(entry, str) or not entry:
                    raise Problem(
                        400, "bad_field", f"{name} must hold texts that are not empty", param=name
                    )
            found += values
    if len(found) > MOST_NAMES:
        raise Problem(400, "bad_field", f"more than {MOST_NAMES} values of {one}", param=one)
    # The order and repetitions change nothing, and equal filters are searched in one call.
    return tuple(sorted(set(found)))
