"""Requests on their way to a recording: a worker's since its report before, or a single one.

Whoever made the requests writes their rows, so that a master with many workers has little to do for each. It adds what
it alone knows: the time by its own clock, and the phase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runfiles.columns import REQUEST_COLUMNS, column_names
from runfiles.events import LATE_MS

from _row_file import csv_text

FAILED_TEXTS_KEPT = 3
"""So many of the texts that fail are in the record."""

NAMES = column_names(REQUEST_COLUMNS)
BEFORE_PHASE, AFTER_PHASE = NAMES[: NAMES.index("phase")], NAMES[NAMES.index("phase") + 1 :]
"""The columns of the file. The first of them is the time at which a request was sent."""


@dataclass
class RequestBatch:
    """Requests of one block, in the order in which they were over.

    Args:
        block: the number of the block; None: the load is in one piece.
        started_at_unix_s: when each of them was sent.
        response_time_ms: the response time of each.
        failed: whether each failed.
        late: whether each was sent too late, in an open workload.
        before_phase: the fields of each row before its phase, as CSV.
        after_phase: the fields of each row after its phase.
        retries: how many were sent again over a new connection.
        reconnects: for how many a kept connection was replaced.
        text_ids: the texts that were sent, each once: a set that MessagePack can carry.
        failed_texts: the first texts that failed, with the status of the answer.
        answers: replica -> second in which it was over -> how many answers were no errors.
        last_sent_unix_s: replica -> when the last request was sent that it answered; the name is empty where the answer
            did not say it.
    """

    block: int | None = None
    started_at_unix_s: list[float] = field(default_factory=list)
    response_time_ms: list[float] = field(default_factory=list)
    failed: list[bool] = field(default_factory=list)
    late: list[bool] = field(default_factory=list)
    before_phase: list[bytes] = field(default_factory=list)
    after_phase: list[bytes] = field(default_factory=list)
    retries: int = 0
    reconnects: int = 0
    text_ids: dict[int | None, None] = field(default_factory=dict)
    failed_texts: dict[int, int] = field(default_factory=dict)
    answers: dict[str, dict[int, int]] = field(default_factory=dict)
    last_sent_unix_s: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> RequestBatch:
        """A batch of one request."""
        batch = cls(row["block"])
        batch.add(row)
        return batch

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a request, as ``request_row`` returns it."""
        started, took_ms, failed = row["started_at_unix_s"], row["response_time_ms"], bool(row["error"])
        text_id, replica = row["text_id"], row["replica"]
        self.started_at_unix_s.append(started)
        self.response_time_ms.append(took_ms)
        self.failed.append(failed)
        self.late.append((row["send_delay_ms"] or 0) > LATE_MS)
        self.before_phase.append(csv_text(map(row.get, BEFORE_PHASE)))
        self.after_phase.append(csv_text(map(row.get, AFTER_PHASE)))
        self.retries += row["retried"] or 0
        self.reconnects += row["reconnected"]
        self.text_ids[text_id] = None
        if failed and text_id is not None and len(self.failed_texts) < FAILED_TEXTS_KEPT:
            self.failed_texts.setdefault(text_id, row["status"])
        if replica and not failed:
            seconds = self.answers.setdefault(replica, {})
            second = int(started + took_ms / 1000)
            seconds[second] = seconds.get(second, 0) + 1
        if row["status"]:
            self.last_sent_unix_s[replica] = max(started, self.last_sent_unix_s.get(replica, 0.0))

    def move(self, by_s: float) -> None:
        """Change the time of each request by so many seconds."""
        self.started_at_unix_s = [at + by_s for at in self.started_at_unix_s]
        rests = [fields.partition(b",")[2] for fields in self.before_phase]
        self.before_phase = [b"%r,%b" % moved for moved in zip(self.started_at_unix_s, rests, strict=True)]
        self.last_sent_unix_s = {replica: at + by_s for replica, at in self.last_sent_unix_s.items()}
        self.answers = {
            replica: {second + round(by_s): count for second, count in seconds.items()}
            for replica, seconds in self.answers.items()
        }

    def rows(self, phases: Sequence[str | None]) -> list[bytes]:
        """The rows of the file as CSV, with these phases."""
        fields = {phase: f",{phase or ''},".encode() for phase in set(phases)}
        parts = zip(self.before_phase, phases, self.after_phase, strict=True)
        return [before + fields[phase] + after for before, phase, after in parts]
