"""The worker's log: lines `2026-11-21T22:41:03.123Z info text`, in a file of bounded size."""

from __future__ import annotations

import logging
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_BYTES = 8 * 1024 * 1024
OLD_FILES = 2
"""`<name>.1` and `<name>.2`."""


class _Lines(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        record.level = record.levelname.lower()
        return super().format(record)


def log_to(path: Path | None) -> None:
    """Send all logging to `path`, or to stderr without one; of connections only what goes wrong."""
    handler: logging.Handler = (
        RotatingFileHandler(path, maxBytes=MAX_BYTES, backupCount=OLD_FILES) if path else logging.StreamHandler()
    )
    handler.setFormatter(_Lines("%(asctime)s %(level)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.raiseExceptions = False  # a full disk is not told by filling what else is printed
    logging.getLogger("picows").setLevel(logging.WARNING)
