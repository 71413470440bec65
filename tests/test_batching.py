"""Which texts are computed together, by which lane, and which are not computed."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from inference.batching import Batcher
from inference.classifier import Classification, ClientGone, QueueFull
from inference.engines.engine import Label


class SlowEngine:
    """Labels each text with the text itself, once ``may_answer`` is set, and records what it was given."""

    name, device, threads, weights = "slow", "cpu", 2, "none"
    versions: dict[str, str] = {}
    largest_batch = 4
    largest_batch_characters = 100

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.given: list[tuple[list[str], bool]] = []
        self.may_answer = threading.Event()
        self.takes_s = 0.0

    def classify(self, texts: Sequence[str], *, alone: bool) -> list[Label]:
        self.given.append((list(texts), alone))
        if not self.may_answer.wait(10):
            raise TimeoutError
        time.sleep(self.takes_s)
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


async def ask(batcher: Batcher, text: str, is_gone: Callable[[], bool] = here) -> asyncio.Task[Classification]:
    """A task that asks about a text. The text is in the queue when this returns."""
    task = asyncio.create_task(batcher.classify(text, is_gone))
    await asyncio.sleep(0)
    return task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def answers(asked: Sequence[asyncio.Task[Classification]]) -> list[str]:
    async with asyncio.timeout(10):
        return [found.sentiment for found in await asyncio.gather(*asked)]


def test_a_lone_text_gets_all_threads_and_what_comes_meanwhile_is_dealt_out() -> None:
    async def scenario() -> None:
        asked = [await ask(batcher, "first")]
        await until(lambda: len(engine.given) == 1)
        asked += [await ask(batcher, text) for text in ("a" * 9, "b" * 8, "c" * 4, "d" * 3)]
        engine.may_answer.set()
        assert await answers(asked) == ["first", "a" * 9, "b" * 8, "c" * 4, "d" * 3]
        assert engine.given[0] == (["first"], True)
        dealt = sorted((sorted(texts), alone) for texts, alone in engine.given[1:])
        assert dealt == [(["a" * 9, "d" * 3], False), (["b" * 8, "c" * 4], False)]  # as many characters in each lane

    with batching(lanes=2) as (batcher, engine):
        asyncio.run(scenario())


def test_a_few_texts_are_computed_together_by_all_threads() -> None:
    async def scenario() -> None:
        asked = [await ask(batcher, "first")]
        await until(lambda: len(engine.given) == 1)
        asked += [await ask(batcher, text) for text in ("one", "two", "three")]
        engine.may_answer.set()
        await answers(asked)
        assert [(sorted(texts), alone) for texts, alone in engine.given[1:]] == [(["one", "three", "two"], True)]

    with batching(lanes=2) as (batcher, engine):
        asyncio.run(scenario())


def test_lanes_take_batches_each_for_itself_while_many_wait() -> None:
    async def scenario() -> None:
        asked = [await ask(batcher, f"text {number}") for number in range(4)]
        await until(lambda: len(engine.given) >= 1)
        asked += [await ask(batcher, f"text {number}") for number in range(4, 30)]
        engine.may_answer.set()
        await answers(asked)
        sizes = [len(texts) for texts, _ in engine.given]
        assert (
            sizes.count(4) >= 5
        )  # the largest there can be; if both lanes end at once, the last six are dealt 3 and 3

    with batching(lanes=2) as (batcher, engine):
        asyncio.run(scenario())


def test_a_round_waits_a_moment_for_those_who_have_just_been_answered() -> None:
    """Clients that ask again one after the other are computed together again, rather than the first of them alone. So
    it is in most rounds; a busy machine may keep a client from asking in time."""

    async def client(place: int) -> None:
        for number in range(10):
            await batcher.classify(f"text {number}", here)
            await asyncio.sleep(0.001 * place)

    async def scenario() -> None:
        engine.may_answer.set()
        async with asyncio.timeout(30):
            await asyncio.gather(*(client(place) for place in range(4)))

    with batching(lanes=1) as (batcher, engine):
        engine.takes_s = 0.08
        asyncio.run(scenario())
    sizes = [len(texts) for texts, _ in engine.given]
    assert sizes.count(4) >= 5


def test_batches_are_bounded_and_in_the_order_that_texts_came() -> None:
    async def scenario() -> None:
        asked = [await ask(batcher, "first")]
        await until(lambda: len(engine.given) == 1)
        asked += [await ask(batcher, "x" * length) for length in (10, 90, 12, 60, 11, 9, 8, 7)]
        engine.may_answer.set()
        await answers(asked)
        lengths = [[len(text) for text in texts] for texts, _ in engine.given[1:]]
        assert [sorted(some) for some in lengths] == [[10, 90], [9, 11, 12, 60], [7, 8]]

    with batching(lanes=1) as (batcher, engine):
        asyncio.run(scenario())


def test_a_full_queue_takes_no_more() -> None:
    async def scenario() -> None:
        asked = [await ask(batcher, "first")]
        await until(lambda: len(engine.given) == 1)
        asked += [await ask(batcher, "second"), await ask(batcher, "third")]
        assert batcher.waiting() == 2
        with pytest.raises(QueueFull, match="2 texts wait already"):
            await batcher.classify("fourth", here)
        engine.may_answer.set()
        await answers(asked)
        assert batcher.waiting() == 0

    with batching(lanes=1, limit=2) as (batcher, engine):
        asyncio.run(scenario())


def test_what_nobody_waits_for_is_not_computed() -> None:
    async def scenario() -> None:
        first = await ask(batcher, "first")
        await until(lambda: len(engine.given) == 1)
        gone, still_here = await ask(batcher, "gone", lambda: True), await ask(batcher, "here")
        engine.may_answer.set()
        assert await answers([first, still_here]) == ["first", "here"]
        with pytest.raises(ClientGone):
            await gone
        assert [texts for texts, _ in engine.given] == [["first"], ["here"]]

    with batching(lanes=1) as (batcher, engine):
        asyncio.run(scenario())


def test_an_error_is_told_to_those_who_wait_and_ends_no_lane() -> None:
    async def scenario() -> None:
        engine.may_answer.set()
        with pytest.raises(ValueError, match="no model computes that"):
            await batcher.classify("broken", here)
        assert (await batcher.classify("whole", here)).sentiment == "whole"

    with batching(lanes=1) as (batcher, engine):
        asyncio.run(scenario())


def test_one_who_gives_up_takes_nothing_from_the_others() -> None:
    async def scenario() -> None:
        first = await ask(batcher, "first")
        await until(lambda: len(engine.given) == 1)
        gives_up, stays = await ask(batcher, "gives up"), await ask(batcher, "stays")
        gives_up.cancel()
        engine.may_answer.set()
        assert await answers([first, stays]) == ["first", "stays"]

    with batching(lanes=1) as (batcher, engine):
        asyncio.run(scenario())


def test_a_wait_that_runs_out_between_two_looks_at_the_clock_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane waits for the clients of its round to ask again. That wait is over at each second look at its clock."""
    looks = itertools.count()

    def clock() -> float:
        if has_asked_again.is_set() and threading.current_thread().name.startswith("lane"):
            return 11 + (1e-3 if next(looks) % 2 else -1e-3)
        return 10.0 if engine.given else 0.0  # a round of 10 s, whose clients may come back for a tenth of that

    async def scenario() -> None:
        await answers([await ask(batcher, text) for text in ("one", "two", "three")])
        again = await ask(batcher, "back")
        has_asked_again.set()
        assert await answers([again]) == ["back"]

    has_asked_again = threading.Event()
    monkeypatch.setattr("inference.batching.time", SimpleNamespace(perf_counter=clock))
    engine = SlowEngine(lanes=1)
    engine.may_answer.set()
    batcher = Batcher(engine, {}, 100)
    try:
        asyncio.run(scenario())
    finally:
        batcher.close()
