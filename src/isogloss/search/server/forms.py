"""The body of a request in: fields, one uploaded file on disk, or a JSON object.

Nothing of an upload names a file: its own name is dropped, its bytes go to a scratch file that the
server numbers itself.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from isogloss.search.server.problems import Problem, client_gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request

    from isogloss.search.server.scratch import Scratch

__all__ = ["Body", "read_body"]

_MOST_FIELDS = 256
_FIELD_BYTES = 64 * 1024
_FORM_BYTES = 1024 * 1024
# A value of JSON takes two bytes on the wire and about fifty in memory.
_MOST_JSON_MARKS = 100_000


@dataclass
class Body:
    """What a request holds.

    Attributes:
        fields: names and values in order; of a JSON object its members.
        upload: the file of the field `file`, None when there is none.
        upload_bytes: its size.
        is_json: the body was JSON, so values may be of any type.
    """

    fields: dict[str, list[Any]] = field(default_factory=dict)
    upload: Path | None = None
    upload_bytes: int = 0
    is_json: bool = False


@contextmanager
def _failing(kind: str) -> Iterator[None]:
    try:
        yield
    except (FormParserError, ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Problem(400, "bad_body", f"the body is not {kind}: {reason}") from error


async def read_body(request: Request, scratch: Scratch, *, max_upload_bytes: int) -> Body:
    """The body of `request`: multipart, a URL-encoded form or a JSON object.

    Raises:
        Problem: 415 for another content type, 400 for a malformed body, 413 for a larger file;
            408 and 413 of `BodyGuard`; 499 when the client has gone.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind == b"multipart/form-data":
        boundary = options.get(b"boundary", b"")
        if not boundary:
            raise Problem(400, "bad_body", "multipart/form-data without a boundary")
        with _failing("multipart/form-data"):
            form = _Form(scratch, max_upload_bytes)
            try:
                parser = MultipartParser(boundary, form.callbacks())
                async for chunk in _chunks(request):
                    parser.write(chunk)
                parser.finalize()
            finally:
                form.close()
            if not form.ended:
                raise Problem(400, "bad_body", "the multipart body ends before its last boundary")
            return form.body
    if kind == b"application/x-www-form-urlencoded":
        text = b"".join([chunk async for chunk in _chunks(request)])
        if len(text) > _FORM_BYTES:
            raise Problem(413, "too_large", f"the fields are larger than {_FORM_BYTES} bytes")
        with _failing("a URL-encoded form"):
            return _urlencoded(text)
    if kind == b"application/json" or kind.endswith(b"+json"):
        text = b"".join([chunk async for chunk in _chunks(request)])
        if sum(text.count(mark) for mark in (b",", b"[", b"{")) > _MOST_JSON_MARKS:
            raise Problem(400, "bad_body", f"more than {_MOST_JSON_MARKS} values in the JSON")
        with _failing("JSON"):
            value = json.loads(text, parse_constant=_no_constant)
        if not isinstance(value, dict):
            raise Problem(400, "bad_body", 'the JSON must be an object, such as {"id": "a"}')
        return Body({name: [member] for name, member in value.items()}, is_json=True)
    raise Problem(
        415,
        "unsupported_media_type",
        "send multipart/form-data, application/x-www-form-urlencoded or application/json",
    )


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


async def _chunks(request: Request) -> Any:
    """The body in pieces."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise client_gone()
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return


class _Form:
    """Callbacks of the multipart parser."""

    def __init__(self, scratch: Scratch, max_upload_bytes: int) -> None:
        self.body = Body()
        self.ended = False
        self._scratch = scratch
        self._max = max_upload_bytes
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = ""
        self._name = ""
        self._text = bytearray()
        self._handle: BinaryIO | None = None
        self._count = 0
        self._text_bytes = 0

    def callbacks(self) -> Any:
        """Names of the parser's events to what is done."""
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": lambda d, a, b: self._header.extend(d[a:b]),
            "on_header_value": lambda d, a, b: self._value.extend(d[a:b]),
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": lambda d, a, b: self._data(d[a:b]),
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def close(self) -> None:
        """Close the scratch file; it is removed by whoever made the `Scratch`."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def _part_begin(self) -> None:
        self._count += 1
        if self._count > _MOST_FIELDS:
            raise Problem(400, "bad_body", f"more than {_MOST_FIELDS} fields", close=True)
        self._disposition, self._name = "", ""
        self._text.clear()

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value.decode("utf-8", "replace")
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = _disposition(self._disposition)
        if "name" not in options:
            raise Problem(400, "bad_body", "a part of the body has no name")
        self._name = options["name"]
        if self._name != "file":
            return
        if self.body.upload is not None:
            raise Problem(400, "bad_field", "more than one file; send one", param="file")
        self.body.upload = self._scratch.new()
        self._handle = self.body.upload.open("wb")

    def _data(self, data: bytes) -> None:
        if self._handle is None:
            if len(self._text) + len(data) > _FIELD_BYTES:
                raise Problem(
                    413, "too_large", f"a field is larger than {_FIELD_BYTES} bytes", close=True
                )
            self._text_bytes += len(data)
            if self._text_bytes > _FORM_BYTES:
                raise Problem(
                    413, "too_large", f"the fields are larger than {_FORM_BYTES} bytes", close=True
                )
            self._text.extend(data)
            return
        self.body.upload_bytes += len(data)
        if self.body.upload_bytes > self._max:
            raise Problem(
                413,
                "too_large",
                f"the file is larger than {self._max} bytes",
                param="file",
                close=True,
            )
        self._handle.write(data)

    def _part_end(self) -> None:
        if self._handle is not None:
            self.close()
            return
        text = self._text.decode("utf-8")  # a ValueError is a malformed body
        self.body.fields.setdefault(self._name, []).append(text)

    def _end(self) -> None:
        self.ended = True


def _disposition(value: str) -> tuple[bytes, dict[str, str]]:
    # The parser takes str as Latin-1; names of fields in other scripts come through as they are.
    kind, options = parse_options_header(value.encode("utf-8").decode("latin-1"))
    return kind, {
        name.decode("latin-1"): v.decode("utf-8", "replace") for name, v in options.items()
    }


def _urlencoded(text: bytes) -> Body:
    from urllib.parse import parse_qsl

    pairs = parse_qsl(
        text.decode("utf-8"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"
    )
    body = Body()
    for name, value in pairs:
        body.fields.setdefault(name, []).append(value)
    return body
