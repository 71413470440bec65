"""Batches of whatever waits, computed on native threads, for the server's greenlets.

Nothing waits for a batch to fill: a lane that is free takes what is there. A text that waits alone, with nothing being
computed, gets all threads; several are dealt out over the lanes, each with a thread of its own.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import gevent
from gevent.event import Event

from inference.classifier import Classification, ClientGone, QueueFull
from inference.engine import Engine, Label

QUEUE_LIMIT = 256
"""Texts that wait at a time; with one more, the server says so at once rather than let it wait for long."""


class _Waiting:
    """A text that was asked about, until it is answered."""

    __slots__ = ("answer", "answered", "asked_at_s", "error", "is_gone", "text")

    def __init__(self, text: str, is_gone: Callable[[], bool]) -> None:
        self.text = text
        self.is_gone = is_gone
        self.asked_at_s = time.perf_counter()
        self.answered = Event()
        self.answer: Classification | None = None
        self.error: Exception | None = None


class Batcher:
    """A Classifier over an engine, to be used by the greenlets of the thread that makes it.

    ``limit`` is how many texts may wait; ``on_batch`` is told the size of each batch, in the thread that computed it.
    """

    def __init__(
        self, engine: Engine, facts: dict[str, Any], limit: int, on_batch: Callable[[int], object] = lambda size: None
    ) -> None:
        self.versions = engine.versions
        self.engine = facts
        self._engine = engine
        self._limit = limit
        self._on_batch = on_batch
        self._waiting: deque[_Waiting] = deque()
        self._computing = 0
        self._is_alone = False
        self._is_closed = False
        self._change = threading.Condition()
        self._done: deque[_Waiting] = deque()
        self._wake = gevent.get_hub().loop.async_()
        self._wake.start(self._deliver)
        self._lanes = [threading.Thread(target=self._work, name=f"lane-{n}", daemon=True) for n in range(engine.lanes)]
        for lane in self._lanes:
            lane.start()

    def classify(self, text: str, is_gone: Callable[[], bool]) -> Classification:
        """Label ``text``; other greenlets run meanwhile.

        Raises:
            QueueFull: as many texts wait as may.
            ClientGone: ``is_gone`` said so before it was its turn.
        """
        one = _Waiting(text, is_gone)
        with self._change:
            if len(self._waiting) >= self._limit:
                raise QueueFull(f"{self._limit} texts wait already")
            self._waiting.append(one)
            self._change.notify()
        one.answered.wait()
        if one.error is not None:
            raise one.error
        assert one.answer is not None  # noqa: S101  either is set before the event
        return one.answer

    def waiting(self) -> int:
        """How many texts wait for the model."""
        return len(self._waiting)

    def close(self) -> None:
        """Let the lanes end what they compute, and end them."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()
        for lane in self._lanes:
            lane.join()
        self._wake.stop()
        self._wake.close()
        self._engine.close()

    def _work(self) -> None:
        while batch := self._next():
            self._compute(batch)

    def _next(self) -> list[_Waiting]:
        """The next batch for a lane that is free; empty at the end."""
        with self._change:
            while not self._is_closed and (not self._waiting or self._is_alone):
                self._change.wait()
            if self._is_closed:
                return []
            waiting = len(self._waiting)
            self._is_alone = waiting == 1 and self._computing == 0
            free = len(self._lanes) - self._computing
            size = min(-(-waiting // free), self._engine.largest_batch)
            batch = _oldest(self._waiting, size, self._characters(waiting))
            self._computing += 1
            if self._waiting and not self._is_alone:
                self._change.notify()
            return batch

    def _characters(self, waiting: int) -> int:
        """How long a batch may be: half as long as it is fastest where few wait, who would all wait for the longest."""
        most = self._engine.largest_batch_characters
        return most if waiting > self._engine.largest_batch else most // 2

    def _compute(self, batch: list[_Waiting]) -> None:
        began_at_s = time.perf_counter()
        wanted = []
        for one in batch:
            if one.is_gone():
                one.error = ClientGone()
            else:
                wanted.append(one)
        try:
            if wanted:
                labels = self._engine.classify([one.text for one in wanted], alone=self._is_alone)
                _answer(wanted, labels, began_at_s)
        except Exception as error:
            for one in wanted:
                one.error = error
        with self._change:
            self._computing -= 1
            self._is_alone = False
        self._done.extend(batch)
        self._wake.send()
        self._on_batch(len(wanted))

    def _deliver(self) -> None:
        while self._done:
            self._done.popleft().answered.set()


def _answer(batch: Sequence[_Waiting], labels: Sequence[Label], began_at_s: float) -> None:
    inference_ms = (time.perf_counter() - began_at_s) * 1000
    for one, label in zip(batch, labels, strict=True):
        queue_ms = (began_at_s - one.asked_at_s) * 1000
        one.answer = Classification(label.sentiment, label.score, queue_ms, inference_ms, label.truncated_to)


def _oldest(waiting: deque[_Waiting], size: int, characters: int) -> list[_Waiting]:
    """Take out the text that has waited longest and those that came after it, up to ``size`` and ``characters`` in all.

    In the order they came: texts of like length together would be computed a sixth faster, but some would be passed by
    others time and again.
    """
    batch = [waiting.popleft()]
    left = characters - len(batch[0].text)
    while waiting and len(batch) < size and len(waiting[0].text) <= left:
        batch.append(waiting.popleft())
        left -= len(batch[-1].text)
    return batch


def queue_limit() -> int:
    """``INFERENCE_QUEUE``, else QUEUE_LIMIT.

    Raises:
        ValueError: it is no positive number.
    """
    text = os.environ.get("INFERENCE_QUEUE") or str(QUEUE_LIMIT)
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"INFERENCE_QUEUE={text} is not a number of texts that may wait; expected 1 or more")
    return int(text)
