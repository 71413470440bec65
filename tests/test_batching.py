"""Which texts are computed together, by which lane, and what becomes of those that are not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gevent
import pytest

from inference.batching import Batcher, queue_limit
from inference.classifier import ClientGone, QueueFull
from inference.engine import Label


class SlowEngine:
    """Says of each text what it is, once it is let; notes what it was given."""

    name, device, threads, weights = "slow", "cpu", 2, "none"
    versions: dict[str, str] = {}
    largest_batch = 4
    largest_batch_characters = 100

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.given: list[tuple[list[str], bool]] = []
        self.may_answer = threading.Event()

    def classify(self, texts: Sequence[str], *, alone: bool) -> list[Label]:
        self.given.append((list(texts), alone))
        if not self.may_answer.wait(10):
            raise TimeoutError
        if "broken" in texts:
            raise ValueError("no model computes that")
        return [Label(text, 1.0, None) for text in texts]

    def close(self) -> None:
        pass


@contextmanager
def batching(lanes: int, limit: int = 100) -> Iterator[tuple[Batcher, SlowEngine]]:
    engine = SlowEngine(lanes)
    batcher = Batcher(engine, {}, limit)
    try:
        yield batcher, engine
    finally:
        engine.may_answer.set()
        batcher.close()


def here() -> bool:
    return False


def ask(batcher: Batcher, text: str, is_gone: Callable[[], bool] = here) -> Any:
    """A greenlet that asks about a text, and has it queued."""
    one = gevent.spawn(batcher.classify, text, is_gone)
    gevent.sleep(0)
    return one


def until(condition: Callable[[], bool]) -> None:
    with gevent.Timeout(10):
        while not condition():
            gevent.sleep(0.001)


def test_a_lone_text_gets_all_threads_and_what_comes_meanwhile_is_dealt_out() -> None:
    with batching(lanes=2) as (batcher, engine):
        asked = [ask(batcher, "first")]
        until(lambda: len(engine.given) == 1)
        asked += [ask(batcher, f"text {number}") for number in range(6)]
        engine.may_answer.set()
        gevent.joinall(asked, timeout=10, raise_error=True)
        assert [one.value.sentiment for one in asked] == ["first", *(f"text {number}" for number in range(6))]
        assert engine.given[0] == (["first"], True)
        assert [alone for _, alone in engine.given[1:]].count(True) == 0 or len(engine.given[-1][0]) == 1
        assert sorted(text for texts, _ in engine.given[1:] for text in texts) == [f"text {n}" for n in range(6)]
        assert max(len(texts) for texts, _ in engine.given) <= 3  # six over two lanes


def test_batches_are_bounded_and_in_the_order_that_texts_came() -> None:
    with batching(lanes=1) as (batcher, engine):
        asked = [ask(batcher, "first")]
        until(lambda: len(engine.given) == 1)
        asked += [ask(batcher, "x" * length) for length in (10, 90, 12, 60, 11, 9, 8, 7)]
        engine.may_answer.set()
        gevent.joinall(asked, timeout=10, raise_error=True)
        lengths = [[len(text) for text in texts] for texts, _ in engine.given[1:]]
        assert lengths == [[10, 90], [12, 60, 11, 9], [8, 7]]


def test_a_full_queue_takes_no_more() -> None:
    with batching(lanes=1, limit=2) as (batcher, engine):
        asked = [ask(batcher, "first")]
        until(lambda: len(engine.given) == 1)
        asked += [ask(batcher, "second"), ask(batcher, "third")]
        assert batcher.waiting() == 2
        with pytest.raises(QueueFull, match="2 texts wait already"):
            batcher.classify("fourth", here)
        engine.may_answer.set()
        gevent.joinall(asked, timeout=10, raise_error=True)
        assert batcher.waiting() == 0


def test_what_nobody_waits_for_is_not_computed() -> None:
    with batching(lanes=1) as (batcher, engine):
        first = ask(batcher, "first")
        until(lambda: len(engine.given) == 1)
        gone, still_here = ask(batcher, "gone", lambda: True), ask(batcher, "here")
        engine.may_answer.set()
        assert still_here.get(timeout=10).sentiment == "here"
        with pytest.raises(ClientGone):
            gone.get(timeout=10)
        first.get(timeout=10)
        assert [texts for texts, _ in engine.given] == [["first"], ["here"]]


def test_an_error_is_told_to_those_who_wait_and_ends_no_lane() -> None:
    with batching(lanes=1) as (batcher, engine):
        engine.may_answer.set()
        with pytest.raises(ValueError, match="no model computes that"):
            batcher.classify("broken", here)
        assert batcher.classify("whole", here).sentiment == "whole"


@pytest.mark.parametrize("text", ["0", "-1", "many"])
def test_a_queue_that_holds_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("INFERENCE_QUEUE", text)
    with pytest.raises(ValueError, match=f"INFERENCE_QUEUE={text}"):
        queue_limit()
