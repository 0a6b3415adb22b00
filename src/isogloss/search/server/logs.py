"""One JSON object a line on stderr; neither tokens nor what was said ever stands in it."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

__all__ = ["JsonLines", "access_log", "set_up_logs"]

access_log = logging.getLogger("isogloss.serve")
"""Requests, starts, stops, reloads; fields are given as `extra={"fields": {...}}`."""


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, event, fields, and the traceback of an error."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def set_up_logs(level: int = logging.INFO) -> None:
    """Send the server's and uvicorn's records to stderr as JSON lines, once."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("isogloss.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    # Which byte of a malformed form is wrong is in the answer already.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # Every request is logged by the server itself, with its id.
    logging.getLogger("uvicorn.access").disabled = True
