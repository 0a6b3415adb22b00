"""Errors in OpenAI's shape, JSON that always renders; used by every route."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Json", "Problem", "client_gone", "problem_response", "rendered"]

_LONGEST_MESSAGE = 500
_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


class Problem(Exception):
    """A request that is answered with an error; the message is for the person who sent it.

    Args:
        status: HTTP status.
        code: a short name that a program can act on.
        message: what was found and what to do; the middle of a long one is left out.
        param: the field of the request at fault, cut as well.
        retry_seconds: sent as Retry-After.
        close: the connection cannot be used again (its body was not read to the end).
        headers: further headers.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_seconds: int | None = None,
        close: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        # It may repeat what was sent, whose size is up to the client.
        if len(message) > _LONGEST_MESSAGE:
            message = f"{message[: _LONGEST_MESSAGE // 2]} ... {message[-_LONGEST_MESSAGE // 2 :]}"
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = None if param is None else param[:100]
        self.close = close
        self.headers = dict(headers or {})
        if retry_seconds is not None:
            self.headers["Retry-After"] = str(retry_seconds)
        if close:
            self.headers["Connection"] = "close"

    @property
    def body(self) -> dict[str, Any]:
        """The error as clients of OpenAI's interface read it."""
        kind = _TYPES.get(self.status, "server_error" if self.status >= 500 else None)
        return {
            "error": {
                "message": self.message,
                "type": kind or "invalid_request_error",
                "code": self.code,
                "param": self.param,
            }
        }


def client_gone() -> Problem:
    """The end of a request whose client has gone; 499 stands in the log, nobody reads it."""
    return Problem(499, "disconnected", "the connection ended before the answer did", close=True)


class Json(Response):
    """A JSON response; a lone surrogate (which UTF-8 cannot hold) is written as its escape."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """`content` as UTF-8; NaN and infinity are refused."""
        return rendered(content)


def rendered(content: Any) -> bytes:
    """JSON as UTF-8 without needless space."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def problem_response(problem: Problem) -> Json:
    """The answer to a request that `problem` ended."""
    return Json(problem.body, problem.status, headers=problem.headers)
