"""Numbers for Prometheus; one registry for each application, so that two can live in a process."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """Counters, gauges and histograms of one application; labels come from fixed tables alone."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        # Memory and open files of the process, where /proc is there to tell.
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "isogloss_requests_total",
            "Answered requests.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "isogloss_request_seconds",
            "From the headers to the end of the answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._rejected = Counter(
            "isogloss_rejected_total", "Refused requests.", ("reason",), registry=registry
        )
        self.stage_seconds = Histogram(
            "isogloss_stage_seconds",
            "Time of one batch in a stage.",
            ("stage",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "isogloss_batch_size",
            "Requests in one batch.",
            ("stage",),
            buckets=_SIZES,
            registry=registry,
        )
        self.queue_length = Gauge(
            "isogloss_batch_queue_length",
            "Jobs that wait for a batch.",
            ("stage",),
            registry=registry,
        )
        self.inside = self._gauge("isogloss_requests_inside", "Requests at work or waiting.")
        self.waiting = self._gauge("isogloss_queue_length", "Requests that wait for a slot.")
        self.held_bytes = self._gauge("isogloss_body_bytes_held", "Bytes of bodies held.")
        self.index_items = self._gauge("isogloss_index_items", "Items that can be found.")
        self.index_version = self._gauge("isogloss_index_version", "Commit that is served.")
        self.ready = self._gauge("isogloss_ready", "1 when /readyz says so.")
        self.reloads = Counter(
            "isogloss_index_reloads_total",
            "Commits opened after the first, and failures.",
            ("result",),
            registry=registry,
        )

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        known = method if method in _METHODS else "OTHER"
        self._requests.labels(route, known, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def rejected(self, reason: str) -> None:
        """Count one refusal; `reason` is the code of a `Problem`."""
        self._rejected.labels(reason).inc()

    def text(self) -> bytes:
        """All numbers in Prometheus' text format."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, help_: str) -> Gauge:
        return Gauge(name, help_, registry=self._registry)
