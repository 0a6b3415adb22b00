"""What every request passes first: its id, the token, the body's limits; and last: log and numbers.

Written as plain ASGI, so that bodies stream through it.
"""

from __future__ import annotations

import errno
import hmac
import re
import secrets
import time
from typing import TYPE_CHECKING

from isogloss.search.index_protocol import IndexUnavailable
from isogloss.search.server.limits import BodyGuard
from isogloss.search.server.logs import access_log
from isogloss.search.server.problems import Problem, problem_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from isogloss.search.server.state import State

__all__ = ["OPEN_PATHS", "Front"]

OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/openapi.json"})
"""Paths that need no token: what a load balancer asks, and the page, which asks for the token."""

_STATIC = "/static/"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_SECURITY_HEADERS = (
    # The page brings a policy of its own; nothing else here is to be shown as a page.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Front:
    """The outermost middleware."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state
        token = state.settings.token
        self._token = None if token is None else token.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; what is not HTTP goes on untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Exchange(scope, receive, send, self._state).run(self._app, self._token)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, state: State) -> None:
        self._scope = scope
        self._send = send
        self._state = state
        self._method = scope["method"]
        # An answer to HEAD is that to GET; the server below leaves its content out.
        if self._method == "HEAD":
            self._scope = scope = {**scope, "method": "GET"}
        self._headers = {name.lower(): value for name, value in scope["headers"]}
        length = self._headers.get(b"content-length", b"0")
        promised = int(length) if length.isdigit() and len(length) < 20 else None
        self._has_body = promised != 0 or b"transfer-encoding" in self._headers
        self._guard = BodyGuard(receive, promised, state.settings, state.limits)
        given = self._headers.get(b"x-request-id", b"")
        known = _REQUEST_ID.fullmatch(given) is not None
        self._id = given if known else secrets.token_hex(16).encode("ascii")
        self._began = time.perf_counter()
        self._status = 0
        self._sent = 0
        self._code = ""
        scope.setdefault("state", {})["request_id"] = self._id.decode("ascii")

    async def run(self, app: ASGIApp, token: bytes | None) -> None:
        try:
            self._check_framing()
            if token is not None:
                self._check_token(token)
            await app(self._scope, self._guard, self._out)
        except Problem as problem:
            await self._fail(problem)
        except IndexUnavailable as error:
            # Which server that is belongs into the log alone.
            access_log.warning(str(error), extra={"fields": self._fields()})
            if self._status:
                raise
            message = "the index does not answer now; try again"
            await self._fail(Problem(503, "index_unavailable", message, retry_seconds=5))
        except Exception as error:  # the last place that can answer: 500, and the log says why
            access_log.exception("error", extra={"fields": self._fields()})
            if self._status:
                raise  # half an answer has left; only ending the connection tells the client
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                message = "the server has no room for uploads; try again later"
                await self._fail(Problem(503, "no_room", message, retry_seconds=30, close=True))
                return
            await self._fail(
                Problem(500, "internal_error", "the server made a mistake; see its log")
            )
        finally:
            self._guard.let_go()
            self._log()

    def _check_framing(self) -> None:
        # Whoever stands before this server may have understood such a body otherwise.
        if b"transfer-encoding" in self._headers and (
            b"content-length" in self._headers or self._scope.get("http_version") == "1.0"
        ):
            message = "a body has a Content-Length or, in HTTP/1.1, a Transfer-Encoding, not both"
            raise Problem(400, "bad_request", message, close=True)

    def _check_token(self, token: bytes) -> None:
        path = self._scope["path"]
        if path in OPEN_PATHS or path.startswith(_STATIC):
            return
        if self._scope["method"] == "OPTIONS" and b"origin" in self._headers:
            return  # browsers ask without it whether they may send it
        sent = [value for name, value in self._scope["headers"] if name == b"authorization"]
        # Of two, another server may believe the other one.
        scheme, _, given = (sent[0] if len(sent) == 1 else b"").partition(b" ")
        # Compared whatever the scheme is, in a time that does not tell how much is right.
        same = hmac.compare_digest(given.strip(b" \t"), token)
        if same and scheme.lower() == b"bearer":
            return
        asked = "a wrong token" if given else "several tokens" if len(sent) > 1 else "no token"
        raise Problem(
            401,
            "invalid_token",
            f"the request has {asked}; send the header 'Authorization: Bearer TOKEN'",
            headers={"WWW-Authenticate": 'Bearer realm="isogloss"'},
        )

    async def _fail(self, problem: Problem) -> None:
        if self._status:
            return  # the answer has begun: a client that has gone, as a rule
        self._code = problem.code
        response = problem_response(problem)
        await response(self._scope, self._guard, self._out)

    async def _out(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = int(message["status"])
            headers = list(message.get("headers", ()))
            names = {name.lower() for name, _ in headers}
            headers.append((b"x-request-id", self._id))
            headers += [pair for pair in _SECURITY_HEADERS if pair[0] not in names]
            if b"cache-control" not in names:
                headers.append((b"cache-control", b"no-store"))
            if self._unread and b"connection" not in names:
                headers.append((b"connection", b"close"))
            await self._send({**message, "headers": headers})
            return
        if message["type"] == "http.response.body":
            self._sent += len(message.get("body", b""))
            if self._unread and not message.get("more_body", False):
                # The answer is out; take some of the rest off the wire before the connection
                # closes, since a reset could overtake the answer.
                await self._send({**message, "more_body": True})
                await self._guard.linger()
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
                return
        await self._send(message)

    @property
    def _unread(self) -> bool:
        return self._has_body and not self._guard.whole and not self._guard.gone

    def _route(self) -> str:
        # The template, not the path: ids of items are none of a log's business.
        route = self._scope.get("route")
        return str(getattr(route, "path_format", "unmatched"))

    def _fields(self) -> dict[str, object]:
        client = self._scope.get("client")
        return {
            "request_id": self._id.decode("ascii"),
            "method": self._method[:16],
            "route": self._route(),
            "client": client[0] if client else None,
        }

    def _log(self) -> None:
        seconds = time.perf_counter() - self._began
        code = self._code or self._scope["state"].get("problem", "")
        self._state.metrics.answered(self._route(), self._method, self._status or 499, seconds)
        if code:
            self._state.metrics.rejected(code)
        fields = {
            **self._fields(),
            "status": self._status or 499,
            "ms": round(seconds * 1000, 1),
            "bytes_in": self._guard.total,
            "bytes_out": self._sent,
        }
        if code:
            fields["code"] = code
        access_log.info("request", extra={"fields": fields})
