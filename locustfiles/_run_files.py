"""The CSV files of one run, which grow together and end together."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
from _blocks import Block

from runfiles.columns import (
    BLOCK_COLUMNS,
    CHANGES_COLUMNS,
    MACHINE_STATS_COLUMNS,
    REPLICA_EVENTS_COLUMNS,
    REPLICA_STATS_COLUMNS,
    REQUEST_COLUMNS,
)
from runfiles.files import (
    BLOCKS_SUFFIX,
    CHANGES_SUFFIX,
    MACHINE_STATS_SUFFIX,
    REPLICA_EVENTS_SUFFIX,
    REPLICA_STATS_SUFFIX,
    REQUESTS_SUFFIX,
)

from _row_file import MOST_KEPT_BYTES, Folder, RowFile

FLUSH_EVERY_S = 1.0

logger = logging.getLogger("fourfold")


class RunFiles:
    """``PREFIX_requests.csv`` and its like. Rows are written to the disk every second and by ``flush``.

    ``PREFIX_blocks.csv`` is one of them if the load ``has_blocks``, ``PREFIX_changes.csv`` if the web UI
    ``has_changes``.

    Raises:
        OSError: a file can't be opened.
    """

    def __init__(self, prefix: str, *, has_blocks: bool = False, has_changes: bool = False) -> None:
        self.folder, name = Folder(Path(prefix).parent), Path(prefix).name
        self.requests = RowFile(self.folder, name + REQUESTS_SUFFIX, REQUEST_COLUMNS)
        self.samples = RowFile(self.folder, name + REPLICA_STATS_SUFFIX, REPLICA_STATS_COLUMNS)
        self.machine_stats = RowFile(self.folder, name + MACHINE_STATS_SUFFIX, MACHINE_STATS_COLUMNS)
        self.events = RowFile(self.folder, name + REPLICA_EVENTS_SUFFIX, REPLICA_EVENTS_COLUMNS)
        self._blocks = RowFile(self.folder, name + BLOCKS_SUFFIX, BLOCK_COLUMNS) if has_blocks else None
        self._changes = RowFile(self.folder, name + CHANGES_SUFFIX, CHANGES_COLUMNS) if has_changes else None
        self._prefix = prefix
        self._disk_error: OSError | None = None
        self._flusher = gevent.spawn(self._flush_regularly)

    def __iter__(self) -> Iterator[RowFile]:
        files = (self.requests, self.samples, self.machine_stats, self.events, self._blocks, self._changes)
        return (file for file in files if file is not None)

    def write_block(self, block: Block) -> None:
        """Take a block that has ended as a row of ``PREFIX_blocks.csv``."""
        if self._blocks is not None:
            fields = {name: value for name, value in vars(block).items() if name != "number"}
            self._blocks.write({"block": block.number, **fields})

    def write_change(self, change: dict[str, Any]) -> None:
        """Take a change as the next row of ``PREFIX_changes.csv``."""
        if self._changes is not None:
            self._changes.write({"number": self._changes.rows + 1} | change)

    def flush(self) -> None:
        """Write all rows to the disk. While it takes none they are kept; the log says when that begins and ends."""
        had, self._disk_error = self._disk_error, None
        for file in self:
            try:
                file.flush()
            except OSError as error:
                self._disk_error = error
        if self._disk_error is not None and had is None:
            logger.error(
                "%s_*: rows can't be written (%s); %s before the run ends. Until then they are kept in memory, up to "
                "%d MB of each file, and tried again every second",
                self._prefix,
                self._disk_error.strerror,
                "make room" if self._disk_error.errno in (errno.ENOSPC, errno.EDQUOT) else "fix that",
                MOST_KEPT_BYTES / 1e6,
            )
        elif self._disk_error is None and had is not None:
            logger.warning("%s_*: rows can be written again; all kept rows are written", self._prefix)

    def close(self) -> None:
        """Write what is left, and end. The folder stays open, for the record."""
        self._flusher.kill()
        for file in self:
            try:
                file.close()
            except OSError as error:
                logger.error(  # noqa: TRY400  what a user can cause needs no traceback
                    "%d of %d rows of %s are lost (%s)", file.lost, file.rows, file.path, error.strerror
                )

    def _flush_regularly(self) -> None:
        while True:
            gevent.sleep(FLUSH_EVERY_S)
            self.flush()
