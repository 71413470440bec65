"""A load in blocks: tells the users which deployment to visit, and when each block begins and ends."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from _block_recording import BlockRecording
from _blocks import Block, Capacity, LoadInBlocks, is_disturbed, is_overloaded, orders, phase_of
from _capacity_search import End, next_step
from _other_programs import others_percent
from gevent.event import Event
from locust.env import Environment
from locust.runners import MasterRunner

from runfiles.events import ALL_BLOCKS, DISTURBED, ENOUGH_REQUESTS, INCOMPLETE, STOPPED
from runfiles.objective import Step

from _visits import GIVE_UP, LEAVE, VISIT

LONGEST_ANSWER_S = 10.0
"""How long the requests of a measured part, and then the others of its block, are waited for. The load then goes on
without the users whose requests are not answered, which is a fault of all runs: fewer users make a lighter load."""

LOCAL = "local"
"""The name of a process without workers, in Locust's messages to itself."""

LOOK_EVERY_S = 0.5
"""Whether a worker that should answer is still there."""

logger = logging.getLogger("fourfold")


class BlockLoad:
    """Carries out the visits, in the process that records them. After the last one it calls ``end`` with the reason."""

    def __init__(
        self, environment: Environment, load: LoadInBlocks, recording: BlockRecording, end: Callable[[str], None]
    ) -> None:
        self._runner = environment.runner
        self._load = load
        self._request_name = environment.fourfold.asked.service.request.name
        self._recording = recording
        self._end = end
        self._numbers = itertools.count(1)
        self._repeats_left = load.most_repeats
        self._answered: set[str] = set()
        self._asked: tuple[int, str] = (0, "")
        self._asked_processes: set[str] = set()
        self._has_news = Event()
        self._loaded = load.targets[0].deployment  # whose requests are waited for
        self._hangs = False
        self._is_open = bool(load.rates or load.capacity)
        self._greenlet: gevent.Greenlet | None = None

    def start(self) -> None:
        """Begin the visits: all users run. A second call does nothing."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._visit_all)
            self._greenlet.link_exception(lambda _: self._end(STOPPED))  # or the users would wait for ever

    def stop(self) -> None:
        """End the visits, in the middle of a block if need be."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def note_answer(self, process: str, data: dict[str, Any]) -> None:
        """The message ``ANSWERED`` of a process that has users."""
        self._recording.note_worker_process(data["node"], data["pid"])
        if (data["block"], data["to"]) == self._asked:
            self._answered.add(process)
            self._has_news.set()

    def _visit_all(self) -> None:
        load = self._load
        cycles = enumerate(orders(len(load.targets), load.order_seed), 1)
        for cycle, order in itertools.islice(cycles, load.warm_up_blocks):
            for target in order:
                self._visit(target, cycle, load.block_s, load.warm_up_rate_per_s)
        reason = ALL_BLOCKS
        if load.capacity is None:
            reason = self._visit_in_cycles(itertools.islice(cycles, load.blocks))
        else:
            self._search(cycles, load.capacity)
        self._tell(VISIT, next(self._numbers), {"host": None})
        self._await_answers()  # so that no request is cut off by the end of the run
        self._end(reason)

    def _visit_in_cycles(self, cycles: Iterable[tuple[int, list[int]]]) -> str:
        """The measured blocks of a plan that says how many there are. Returns what ended them.

        ``cycles``: the number of each cycle, and in which order it visits the targets.
        """
        load = self._load
        overloaded: set[int] = set()
        for place, (cycle, order) in enumerate(cycles):
            rate = load.rate_of(place)
            if load.rates and rate == load.rates[0]:
                overloaded.clear()
            for target in order:
                if target in overloaded:
                    continue
                while (block := self._visit(target, cycle, load.block_s, rate)).phase == DISTURBED:
                    self._repeats_left -= 1
                if is_overloaded(block):
                    overloaded.add(target)
            if self._recording.has_enough():
                return ENOUGH_REQUESTS
        return ALL_BLOCKS

    def _search(self, cycles: Iterable[tuple[int, list[int]]], capacity: Capacity) -> None:
        """The steps of a capacity search of each target: one of each, by turns, until all searches have ended.
        ``cycles``: as in ``_visit_in_cycles``."""
        load = self._load
        searches = [capacity.search(target.first_per_s) for target in load.targets]
        steps: list[list[Step]] = [[] for _ in load.targets]
        left = set(range(len(steps)))
        self._repeats_left = 0  # a search repeats what it doubts
        for cycle, order in cycles:
            for target in [target for target in order if target in left]:
                following = next_step(searches[target], steps[target])
                if isinstance(following, End):
                    logger.info("%s: the search ended (%s)", load.targets[target].deployment, following.why)
                    left.remove(target)
                    continue
                block = self._visit(target, cycle, following.seconds, following.rate_per_s)
                steps[target].append(self._recording.step_of(block, searches[target].objective))
            if not left:
                return

    def _visit(self, target: int, cycle: int, seconds: float, rate: float | None) -> Block:
        """One block, with its phase."""
        load, recording = self._load, self._recording
        block = Block(next(self._numbers), cycle, began_at_unix_s=time.time(), rate_per_s=rate)
        recording.begin_block(target, block)
        visited = load.targets[target]
        name = f"{self._request_name} ({visited.deployment})"
        self._tell(VISIT, block.number, {"host": visited.url, "request_name": name, "rate_per_s": rate})
        gevent.sleep(load.settle_s)
        self._await_answers()
        block.measured_from_unix_s = time.time()
        before = recording.read_cpu()
        gevent.sleep(seconds)
        after = recording.read_cpu()
        block.measured_to_unix_s = time.time()
        self._tell(LEAVE, block.number, {"stops": rate is not None})
        self._loaded, self._hangs = visited.deployment, False
        self._await_answers()
        if self._hangs and rate is not None:
            self._hangs = False
            self._runner.send_message(GIVE_UP, {})
            self._await_answers()
        block.ended_at_unix_s = time.time()
        block.others_cpu_percent = others_percent(before, after)
        block.phase = phase_of(
            is_warm_up=cycle <= load.warm_up_blocks,
            others_cpu_percent=block.others_cpu_percent,
            repeats_left=self._repeats_left,
        )
        if is_disturbed(block.others_cpu_percent):
            logger.info(
                "block %d (%s, %s): other programs took %.0f%% of a core",
                block.number,
                visited.deployment,
                block.phase,
                block.others_cpu_percent,
            )
        recording.end_block(block)
        return block

    def _tell(self, message: str, block: int, data: dict[str, Any]) -> None:
        self._asked, self._asked_processes, self._answered = (block, message), self._processes(), set()
        self._runner.send_message(message, {"block": block, **data})

    def _await_answers(self) -> None:
        """Wait until all processes with users have answered. What has once hung is not waited for again."""
        until_s = time.monotonic() + (0.0 if self._hangs else LONGEST_ANSWER_S)
        while not self._asked_processes & self._processes() <= self._answered:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                self._hangs = True
                if self._is_open:
                    logger.info("%s: requests were unanswered for %g s", self._loaded, LONGEST_ANSWER_S)
                    return
                after = f"requests unanswered for {LONGEST_ANSWER_S:g} s; the load went on without their users"
                logger.warning("%s left %s", self._loaded, after)
                self._recording.note_fault(INCOMPLETE, f"{self._loaded} left {after}")
                return
            self._has_news.clear()
            self._has_news.wait(min(LOOK_EVERY_S, left_s))

    def _processes(self) -> set[str]:
        """The processes that have users now. A worker that is lost is not waited for."""
        if not isinstance(self._runner, MasterRunner):
            return {LOCAL}
        return {client.id for client in self._runner.clients.spawning + self._runner.clients.running}
