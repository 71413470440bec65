"""The service logs short lines to stderr, and the same line rarely enough that it does not fill the disk."""

from __future__ import annotations

import logging
import time

EACH_S = 60.0
"""The same thing is logged again only after this time, with the number of times it happened in between."""


class Sparing(logging.Filter):
    """Lets through one record per EACH_S for each line of code that logs and each type of exception."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[str, int, type | None], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        key = (record.name, record.lineno, kind)
        now_s = time.monotonic()
        until_s, held_back = self._last.get(key, (now_s, 0))
        if now_s < until_s:
            self._last[key] = (until_s, held_back + 1)
            return False
        self._last[key] = (now_s + EACH_S, 0)
        if held_back:
            record.msg, record.args = f"{record.getMessage().rstrip()} ({held_back} more since the last one)", None
        return True


def log_sparingly() -> None:
    """Send the warnings and errors of all libraries to stderr through Sparing."""
    handler = logging.StreamHandler()
    handler.addFilter(Sparing())
    logging.getLogger().addHandler(handler)
