"""Which phase of a run a row belongs to. A load in blocks tells that only at the end of each block."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from _blocks import Block

from runfiles.events import MEASURED, WAITING, WARM_UP

from _request_batch import RequestBatch

Row = dict[str, Any]
Write = Callable[[Row], None]
WriteRequests = Callable[[RequestBatch, Sequence[str | None]], None]


class Phases(Protocol):
    """Puts the phase into each row, and gives it to ``write`` as soon as its phase is known. ``write`` of requests gets
    the phase of each of them."""

    def begin(self, at_unix_s: float) -> None:
        """The run begins, or its time counts from now on."""

    def give_requests(self, batch: RequestBatch, write: WriteRequests) -> None: ...

    def give_unsent(self, row: Row, write: Write) -> None:
        """As a request, by when it was due."""

    def give_sample(self, row: Row, write: Write) -> None: ...

    def end(self) -> None:
        """The run has ended. All phases are known from now on."""


class InOnePiece:
    """The phases of a load in one piece: its first seconds are the warm-up."""

    def __init__(self, warm_up_s: float) -> None:
        self._warm_up_s = warm_up_s
        self._measured_from_unix_s = 0.0

    def begin(self, at_unix_s: float) -> None:
        self._measured_from_unix_s = at_unix_s + self._warm_up_s

    def give_requests(self, batch: RequestBatch, write: WriteRequests) -> None:
        write(batch, [self._phase_at(at) for at in batch.started_at_unix_s])

    def give_unsent(self, row: Row, write: Write) -> None:
        self._give(row, row["due_at_unix_s"], write)

    def give_sample(self, row: Row, write: Write) -> None:
        self._give(row, row["sampled_at_unix_s"], write)

    def end(self) -> None:
        pass

    def _give(self, row: Row, at_unix_s: float, write: Write) -> None:
        row["phase"] = self._phase_at(at_unix_s)
        write(row)

    def _phase_at(self, at_unix_s: float) -> str:
        return WARM_UP if at_unix_s < self._measured_from_unix_s else MEASURED


class InBlocks:
    """The phases of one target of a load in blocks.

    While a block goes on its rows are kept, and written in their order when it has ended. Only the requests of a block
    whose phase is known beforehand are written at once. A request belongs to the block in which its user turned to the
    target, and a sample to the block that went on at its time.
    """

    def __init__(self) -> None:
        self._blocks: dict[int | None, Block] = {}
        self._present: Block | None = None
        self._kept: list[Callable[[], None]] = []

    def begin(self, at_unix_s: float) -> None:
        pass

    def begin_block(self, block: Block) -> None:
        self._present = self._blocks[block.number] = block

    def end_block(self) -> None:
        """The block has its phase now: write the rows that were kept."""
        kept, self._kept, self._present = self._kept, [], None
        for give in kept:
            give()

    def end(self) -> None:
        """If a block goes on, it is cut off: its rows are those of no measured part."""
        if self._present is not None:
            self._present.cut_off(time.time())
            self.end_block()

    def give_requests(self, batch: RequestBatch, write: WriteRequests) -> None:
        if self._present is not None and self._present.phase is None:
            self._kept.append(lambda: self.give_requests(batch, write))
            return
        block = self._blocks[batch.block]
        write(batch, [block.phase_at(at) for at in batch.started_at_unix_s])

    def give_unsent(self, row: Row, write: Write) -> None:
        if self._present is not None:
            self._kept.append(lambda: self.give_unsent(row, write))
            return
        row["phase"] = self._blocks[row["block"]].phase_at(row["due_at_unix_s"])
        write(row)

    def give_sample(self, row: Row, write: Write) -> None:
        if self._present is not None:
            self._kept.append(lambda: self.give_sample(row, write))
            return
        row["phase"] = self._phase_at(row["sampled_at_unix_s"])
        write(row)

    def _phase_at(self, at_unix_s: float) -> str | None:
        for block in reversed(self._blocks.values()):
            if block.began_at_unix_s <= at_unix_s:
                return block.phase_at(at_unix_s) if at_unix_s < block.ended_at_unix_s else WAITING
        return WAITING
