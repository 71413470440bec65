"""Batches: the texts that wait are computed together, on native threads, while the server's event loop goes on.

A lane computes one batch at a time. No text waits for a batch to fill: a free lane takes what is there. A text that
waits alone while nothing is computed gets all threads. Several texts are dealt out to the lanes, which use one thread
each.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from inference.classifier import Classification, ClientGone, QueueFull
from inference.engines.engine import Engine, Label

BACK_SHARE = 0.1
"""The next round waits for this share of the time that the last one took: the clients that were just answered may ask
again at once."""


class _Waiting:
    """A text that a client asked about, until it is answered."""

    __slots__ = ("asked_at_s", "future", "is_gone", "outcome", "text")

    def __init__(self, text: str, is_gone: Callable[[], bool]) -> None:
        self.text = text
        self.is_gone = is_gone
        self.asked_at_s = time.perf_counter()
        self.future: asyncio.Future[Classification] = asyncio.get_running_loop().create_future()
        self.outcome: Classification | Exception = ClientGone()


class Batcher:
    """A Classifier that computes with an inference engine. Only one event loop may use it.

    At most ``limit`` texts wait. ``on_batch`` is called with the size of each batch, in the thread that computed it.
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
        self._dealt: deque[list[_Waiting]] = deque()
        """Batches of this round that no lane has taken yet."""
        self._inside = 0
        """How many texts are dealt out or being computed."""
        self._is_alone = False
        self._dealt_at_s, self._round_size, self._back_until_s = 0.0, 0, 0.0
        self._is_closed = False
        self._change = threading.Condition()
        self._lanes = [threading.Thread(target=self._work, name=f"lane-{n}", daemon=True) for n in range(engine.lanes)]
        for lane in self._lanes:
            lane.start()

    async def classify(self, text: str, is_gone: Callable[[], bool]) -> Classification:
        """Label ``text``. ``is_gone`` is called in another thread.

        Raises:
            QueueFull: ``limit`` texts wait already.
            ClientGone: ``is_gone`` was true when the text's turn came.
        """
        waiting = _Waiting(text, is_gone)
        with self._change:
            if len(self._waiting) >= self._limit:
                raise QueueFull(f"{self._limit} texts wait already")
            self._waiting.append(waiting)
            if self._is_due(time.perf_counter()):
                self._change.notify()
        return await waiting.future

    def waiting(self) -> int:
        """How many texts wait for the model."""
        return len(self._waiting)

    def close(self) -> None:
        """Let the lanes finish what they compute, then end them."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()
        for lane in self._lanes:
            lane.join()
        self._engine.close()

    def _work(self) -> None:
        while batch := self._next():
            self._compute(batch)

    def _next(self) -> list[_Waiting]:
        """The next batch for a free lane; empty once the Batcher is closed."""
        with self._change:
            while not self._is_closed:
                if self._dealt:
                    return self._dealt.popleft()
                now_s = time.perf_counter()
                if not self._is_due(now_s):
                    left_s = self._back_until_s - now_s
                    self._change.wait(left_s if left_s > 0 and not self._inside and self._round_size > 1 else None)
                elif self._inside:
                    return self._take()
                else:
                    self._deal()
            return []

    def _is_due(self, now_s: float) -> bool:
        """Whether there is something to do for a free lane at a moment.

        A lane that waits because there is nothing must count the time that is left from the same moment. From a later
        moment no time may be left, and the wait would never end.
        """
        waiting = len(self._waiting)
        if not waiting or self._is_alone:
            return False
        if self._inside:
            return waiting + self._inside >= len(self._lanes) * self._engine.largest_batch
        return waiting >= self._round_size or now_s >= self._back_until_s

    def _take(self) -> list[_Waiting]:
        """A batch of the texts that have waited longest."""
        batch = _oldest(self._waiting, self._engine.largest_batch, self._engine.largest_batch_characters)
        self._inside += len(batch)
        if self._is_due(time.perf_counter()):
            self._change.notify()
        return batch

    def _deal(self) -> None:
        """Begin a round: deal the texts that have waited longest out to all lanes, about as many characters to each."""
        lanes = len(self._lanes)
        engine = self._engine
        texts = _oldest(self._waiting, lanes * engine.largest_batch, lanes * engine.largest_batch_characters)
        self._is_alone = len(texts) < 2 * lanes
        self._dealt.extend(_shares(texts, 1 if self._is_alone else lanes))
        self._inside = self._round_size = len(texts)
        self._dealt_at_s = time.perf_counter()
        self._change.notify(len(self._dealt) - 1)

    def _compute(self, batch: list[_Waiting]) -> None:
        began_at_s = time.perf_counter()
        wanted = [waiting for waiting in batch if not waiting.is_gone()]
        try:
            if wanted:
                labels = self._engine.classify([waiting.text for waiting in wanted], alone=self._is_alone)
                _answer(wanted, labels, began_at_s)
        except Exception as error:
            for waiting in wanted:
                waiting.outcome = error
        with self._change:
            self._inside -= len(batch)
            self._is_alone = False
            if not self._inside:
                now_s = time.perf_counter()
                self._back_until_s = now_s + BACK_SHARE * (now_s - self._dealt_at_s)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            batch[0].future.get_loop().call_soon_threadsafe(_deliver, batch)
        self._on_batch(len(wanted))


def _answer(batch: Sequence[_Waiting], labels: Sequence[Label], began_at_s: float) -> None:
    inference_ms = (time.perf_counter() - began_at_s) * 1000
    for waiting, label in zip(batch, labels, strict=True):
        queue_ms = (began_at_s - waiting.asked_at_s) * 1000
        waiting.outcome = Classification(label.sentiment, label.score, queue_ms, inference_ms, label.truncated_to)


def _deliver(batch: Sequence[_Waiting]) -> None:
    """Give those who wait their outcomes. The event loop calls this, in its own thread."""
    for waiting in batch:
        if waiting.future.done():  # cancelled
            continue
        if isinstance(waiting.outcome, Exception):
            waiting.future.set_exception(waiting.outcome)
        else:
            waiting.future.set_result(waiting.outcome)


def _oldest(waiting: deque[_Waiting], size: int, characters: int) -> list[_Waiting]:
    """Take out the texts that have waited longest, at most ``size`` of them with at most ``characters`` in all.

    At least one text is taken. They are taken in the order in which they came: batches of texts of similar length would
    be computed a sixth faster, but later texts would overtake some texts again and again.
    """
    batch = [waiting.popleft()]
    left = characters - len(batch[0].text)
    while waiting and len(batch) < size and len(waiting[0].text) <= left:
        batch.append(waiting.popleft())
        left -= len(batch[-1].text)
    return batch


def _shares(texts: Sequence[_Waiting], lanes: int) -> list[list[_Waiting]]:
    """One batch for each lane, all with about as many characters."""
    batches: list[list[_Waiting]] = [[] for _ in range(lanes)]
    characters = [0] * lanes
    for waiting in sorted(texts, key=lambda waiting: len(waiting.text), reverse=True):
        least = characters.index(min(characters))
        batches[least].append(waiting)
        characters[least] += len(waiting.text)
    return batches
