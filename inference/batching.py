"""Batches of whatever waits, computed on native threads, for the server's event loop.

Nothing waits for a batch to fill: a lane that is free takes what is there. A text that waits alone, with nothing being
computed, gets all threads; several are dealt out over the lanes, each with a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from inference.classifier import Classification, ClientGone, QueueFull
from inference.engines.engine import Engine, Label

QUEUE_LIMIT = 256
"""Texts that wait at a time; with one more, the server says so at once rather than let it wait for long."""


BACK_SHARE = 0.1
"""Of the time that a round took: how long the next one waits for those who were answered, if they ask again at once."""


class _Waiting:
    """A text that was asked about, until it is answered."""

    __slots__ = ("asked_at_s", "future", "is_gone", "outcome", "text")

    def __init__(self, text: str, is_gone: Callable[[], bool]) -> None:
        self.text = text
        self.is_gone = is_gone
        self.asked_at_s = time.perf_counter()
        self.future: asyncio.Future[Classification] = asyncio.get_running_loop().create_future()
        self.outcome: Classification | Exception = ClientGone()


class Batcher:
    """A Classifier over an engine, to be used from one event loop.

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
        self._dealt: deque[list[_Waiting]] = deque()
        """Batches of the round that no lane has taken yet."""
        self._inside = 0
        """Texts dealt out or being computed."""
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
            QueueFull: as many texts wait as may.
            ClientGone: ``is_gone`` said so before it was its turn.
        """
        one = _Waiting(text, is_gone)
        with self._change:
            if len(self._waiting) >= self._limit:
                raise QueueFull(f"{self._limit} texts wait already")
            self._waiting.append(one)
            if self._is_due():
                self._change.notify()
        return await one.future

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
        self._engine.close()

    def _work(self) -> None:
        while batch := self._next():
            self._compute(batch)

    def _next(self) -> list[_Waiting]:
        """The next batch for a lane that is free; empty at the end."""
        with self._change:
            while not self._is_closed:
                if self._dealt:
                    return self._dealt.popleft()
                if not self._is_due():
                    left_s = self._back_until_s - time.perf_counter()
                    self._change.wait(left_s if left_s > 0 and not self._inside and self._round_size > 1 else None)
                elif self._inside:
                    return self._take()
                else:
                    self._deal()
            return []

    def _is_due(self) -> bool:
        """Whether a lane that is free has something to do."""
        waiting = len(self._waiting)
        if not waiting or self._is_alone:
            return False
        if self._inside:
            return waiting + self._inside >= len(self._lanes) * self._engine.largest_batch
        return waiting >= self._round_size or time.perf_counter() >= self._back_until_s

    def _take(self) -> list[_Waiting]:
        """A batch of those that have waited longest."""
        batch = _oldest(self._waiting, self._engine.largest_batch, self._engine.largest_batch_characters)
        self._inside += len(batch)
        if self._is_due():
            self._change.notify()
        return batch

    def _deal(self) -> None:
        """Begin a round: deal those that have waited longest out to all lanes, each as much as the others."""
        lanes = len(self._lanes)
        engine = self._engine
        texts = _oldest(self._waiting, lanes * engine.largest_batch, lanes * engine.largest_batch_characters)
        self._is_alone = len(texts) < 2 * lanes
        self._dealt.extend(_halves(texts, 1 if self._is_alone else lanes))
        self._inside = self._round_size = len(texts)
        self._dealt_at_s = time.perf_counter()
        self._change.notify(len(self._dealt) - 1)

    def _compute(self, batch: list[_Waiting]) -> None:
        began_at_s = time.perf_counter()
        wanted = [one for one in batch if not one.is_gone()]
        try:
            if wanted:
                labels = self._engine.classify([one.text for one in wanted], alone=self._is_alone)
                _answer(wanted, labels, began_at_s)
        except Exception as error:
            for one in wanted:
                one.outcome = error
        with self._change:
            self._inside -= len(batch)
            self._is_alone = False
            if not self._inside:
                now_s = time.perf_counter()
                self._back_until_s = now_s + BACK_SHARE * (now_s - self._dealt_at_s)
        with contextlib.suppress(RuntimeError):  # the loop is closed: whoever waited was given up
            batch[0].future.get_loop().call_soon_threadsafe(_deliver, batch)
        self._on_batch(len(wanted))


def _answer(batch: Sequence[_Waiting], labels: Sequence[Label], began_at_s: float) -> None:
    inference_ms = (time.perf_counter() - began_at_s) * 1000
    for one, label in zip(batch, labels, strict=True):
        queue_ms = (began_at_s - one.asked_at_s) * 1000
        one.outcome = Classification(label.sentiment, label.score, queue_ms, inference_ms, label.truncated_to)


def _deliver(batch: Sequence[_Waiting]) -> None:
    """Tell those who wait, in their own thread."""
    for one in batch:
        if one.future.done():  # cancelled
            continue
        if isinstance(one.outcome, Exception):
            one.future.set_exception(one.outcome)
        else:
            one.future.set_result(one.outcome)


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


def _halves(texts: Sequence[_Waiting], lanes: int) -> list[list[_Waiting]]:
    """The texts dealt out to lanes, so that all have about as many characters."""
    batches: list[list[_Waiting]] = [[] for _ in range(lanes)]
    characters = [0] * lanes
    for one in sorted(texts, key=lambda one: len(one.text), reverse=True):
        least = characters.index(min(characters))
        batches[least].append(one)
        characters[least] += len(one.text)
    return batches


def queue_limit() -> int:
    """``INFERENCE_QUEUE``, else QUEUE_LIMIT.

    Raises:
        ValueError: it is no positive number.
    """
    text = os.environ.get("INFERENCE_QUEUE") or str(QUEUE_LIMIT)
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise ValueError(f"INFERENCE_QUEUE={text} is not a number of texts that may wait; expected 1 or more")
    return int(text)
