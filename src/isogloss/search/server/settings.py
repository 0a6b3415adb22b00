"""What the server allows and how long it waits; made by the command line, read by every module."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ServeSettings"]

_AT_LEAST_ONE = (
    "max_upload_bytes",
    "max_hits",
    "max_inputs",
    "max_concurrent",
    "batch_size",
    "held_bytes",
    "recent_bytes",
    "max_cells",
)


@dataclass(frozen=True)
class ServeSettings:
    """Limits of the server; every one has a default that suits one machine.

    Attributes:
        token: clients must send `Authorization: Bearer TOKEN`; None asks for nothing.
        max_upload_bytes: of one recording; the body of a request may be 4/3 of it (base64) and
            64 KiB more.
        max_seconds: longest recording that is searched with or embedded, after decoding.
        max_transcription_seconds: longest recording that is transcribed.
        max_hits: largest `k`.
        max_inputs: most inputs of one request for embeddings.
        max_concurrent: requests that are decoded, encoded and searched at the same time.
        queue: further requests that may wait, their bodies on disk; more are refused with 503.
        timeout_seconds: from the end of the body to the answer, waiting included (504).
        body_idle_seconds: longest pause while a body is sent (408).
        body_seconds: longest time that a body may take (408).
        header_seconds: longest time until the headers of a request are there (the connection is
            closed).
        held_bytes: bodies of all requests together; more are refused with 503.
        batch_size: requests encoded or searched in one call.
        batch_window_seconds: how long the first of a batch waits for others.
        audio_roots: items' recordings are served from these folders alone; () serves those that
            the index names, wherever they are.
        serve_audio: whether items' recordings are served at all.
        recent_bytes: steps and sound of recent queries that are kept for the similarity map.
        recent_seconds: how long they are kept.
        max_cells: steps of the query times steps of the item in one similarity map.
        reload_seconds: how often the index is looked at for a new commit; 0 never (SIGHUP does).
        drain_seconds: after SIGTERM `/readyz` says 503 for so long before connections are refused.
        stop_seconds: then running requests have so long to finish.
        origins: web origins that may call the server from their pages (CORS); () none.
        scratch: folder for uploads; None a new one where the system keeps temporary files.
    """

    token: str | None = field(default=None, repr=False)
    max_upload_bytes: int = 25 * 1024 * 1024
    max_seconds: float = 60.0
    max_transcription_seconds: float = 600.0
    max_hits: int = 100
    max_inputs: int = 64
    max_concurrent: int = 32
    queue: int = 2000
    timeout_seconds: float = 60.0
    body_idle_seconds: float = 10.0
    body_seconds: float = 60.0
    header_seconds: float = 10.0
    held_bytes: int = 1024 * 1024 * 1024
    batch_size: int = 32
    batch_window_seconds: float = 0.004
    audio_roots: tuple[Path, ...] = ()
    serve_audio: bool = True
    recent_bytes: int = 64 * 1024 * 1024
    recent_seconds: float = 900.0
    max_cells: int = 4_000_000
    reload_seconds: float = 2.0
    drain_seconds: float = 1.0
    stop_seconds: float = 30.0
    origins: tuple[str, ...] = ()
    scratch: Path | None = None

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                continue
            least = 1 if entry.name in _AT_LEAST_ONE else 0
            if not least <= value < float("inf"):
                raise ValueError(f"{entry.name} must be finite and at least {least}, got {value}")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise ValueError("the token must be printable ASCII, since it travels in a header")
        if self.token is not None and (len(self.token) < 8 or " " in self.token):
            raise ValueError("the token must have at least 8 characters and no space")

    @property
    def max_body_bytes(self) -> int:
        """Largest body: a recording in base64, and room for the fields around it."""
        return self.max_upload_bytes * 4 // 3 + 65536
