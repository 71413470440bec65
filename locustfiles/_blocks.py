"""A load in blocks, without the load itself: its file, the order of the visits, and which blocks are repeated."""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from _capacity_search import Search
from _replicas import host_argument, replicas_argument

from runfiles.events import DISTURBED, MEASURED, SETTLING, WARM_UP
from runfiles.fields import Between, Count, Name, Record, Seed
from runfiles.objective import Objective, Step, read_objective
from runfiles.rates import Rate, is_too_high
from runfiles.records import GroupNumber
from runfiles.strict_json import read_record

OTHERS_LIMIT_PERCENT = 30.0
"""A block is disturbed if other programs and the hypervisor took more CPU than this in its measured part, 100 = one
core."""

MOST_BLOCKS = 10**6


def _why_no_host(text: str) -> str | None:
    try:
        host_argument(text)
    except argparse.ArgumentTypeError as error:
        return f"no host ({error})"
    return None


def _why_no_objective(text: str) -> str | None:
    try:
        read_objective(text)
    except ValueError as error:
        return f"no {str(error).removeprefix('an ')}"
    return None


def _why_no_replicas(text: str) -> str | None:
    try:
        replicas_argument(text)
    except argparse.ArgumentTypeError as error:
        return f"no value of --replicas ({error})"
    return None


@dataclass(frozen=True, kw_only=True)
class Target(Record):
    """A deployment that the load visits. ``host`` and ``replicas`` are as in the options of these names, ``csv`` is the
    prefix of the files of its run. ``first_per_s``: the rate of the first step of its search; None: the lowest."""

    deployment: Name
    host: Annotated[str, _why_no_host]
    replicas: Annotated[str, _why_no_replicas]
    csv: str
    first_per_s: Rate | None = None

    @property
    def url(self) -> str:
        """The host as the URL that requests begin with."""
        return host_argument(self.host)


@dataclass(frozen=True, kw_only=True)
class Capacity(Record):
    """A search for the highest rate that meets an objective, of each target. The others are those of
    ``_capacity_search.Search``."""

    objective: Annotated[str, _why_no_objective]
    lowest_per_s: Rate
    highest_per_s: Rate
    budget_s: Annotated[float, Between(1, 10**6)]
    tolerance: Annotated[float, Between(0.001, 1)]

    def search(self, first_per_s: float | None = None) -> Search:
        """The search of a target.

        Raises:
            ValueError: its values can't be true together.
        """
        return Search(
            read_objective(self.objective),
            self.lowest_per_s,
            self.highest_per_s,
            self.budget_s,
            self.tolerance,
            first_per_s,
        )


@dataclass(frozen=True, kw_only=True)
class LoadInBlocks(Record):
    """The file of ``--blocks``: what one Locust measures side by side, and how.

    Each target gets ``warm_up_blocks`` and then ``blocks`` measured ones of ``block_s``. In all, ``most_repeats``
    disturbed blocks are repeated. With ``requests`` the load ends earlier: after the cycle in which each target has
    that many measured requests.

    With ``rates`` the workload is an open one: in the first measured block of each target requests are due at the first
    of these rates (per second), in the next at the next one, and after the last at the first again. A target that is
    overloaded at one gets no higher one until the first comes again.

    With ``capacity`` it is an open one too, and ``blocks``, ``block_s`` and ``rates`` do not count: the search says how
    many blocks there are, how long each is, and at which rate.
    """

    group: GroupNumber
    block_s: Annotated[float, Between(0.05, 3600)]
    settle_s: Annotated[float, Between(0, 60)]
    warm_up_blocks: Annotated[int, Between(0, MOST_BLOCKS)]
    blocks: Annotated[int, Between(1, MOST_BLOCKS)]
    most_repeats: Count
    requests: Annotated[int, Between(1, 10**12)] | None = None
    order_seed: Seed
    rates: tuple[Rate, ...] = ()
    capacity: Capacity | None = None
    targets: tuple[Target, ...]

    @property
    def warm_up_rate_per_s(self) -> float | None:
        """The rate of the warm-up: the lowest of a search, or the first one; None: the workload is closed."""
        if self.capacity is not None:
            return self.capacity.lowest_per_s
        return self.rates[0] if self.rates else None

    def rate_of(self, place: int) -> float | None:
        """The rate of a measured cycle, by its place among these, from 0; None: the workload is closed."""
        return self.rates[place % len(self.rates)] if self.rates else None

    @property
    def warm_up_s(self) -> float:
        """How long each target is loaded, at the least, before it is measured."""
        return self.warm_up_blocks * self.block_s


def read_blocks(path: Path) -> LoadInBlocks:
    """The load that a file describes.

    Raises:
        OSError: the file can't be read.
        ValueError: it does not describe a load. The message says why.
    """
    load = LoadInBlocks.from_json(read_record(path))
    if not load.targets:
        raise ValueError("targets is empty")
    if load.capacity is not None:
        load.capacity.search()
    for what, names in (
        ("deployment", [target.deployment for target in load.targets]),
        ("csv", [str(Path(target.csv).resolve()) for target in load.targets]),
    ):
        if len(set(names)) < len(names):
            raise ValueError(f"two targets have the same {what}")
    return load


def orders(targets: int, seed: int) -> Iterator[list[int]]:
    """In which order the targets are visited, for each cycle, without an end.

    The order is random, and balanced: of as many successive cycles as there are targets, counted from the first, each
    target has each place once. So a drift of the machine concerns all of them alike.
    """
    chance = random.Random(seed)  # noqa: S311  no secret
    while True:
        row = chance.sample(range(targets), targets)
        drawn = [row[place:] + row[:place] for place in range(targets)]
        chance.shuffle(drawn)
        yield from reversed(drawn)


def phase_of(*, is_warm_up: bool, others_cpu_percent: float | None, repeats_left: int) -> str:
    """The phase of a block that has ended. If it is ``DISTURBED``, the block is repeated.

    The CPU that others took is compared with the limit only if it is known. A disturbed block counts if none may be
    repeated any more.
    """
    if is_warm_up:
        return WARM_UP
    return DISTURBED if is_disturbed(others_cpu_percent) and repeats_left > 0 else MEASURED


def is_disturbed(others_cpu_percent: float | None) -> bool:
    return others_cpu_percent is not None and others_cpu_percent > OTHERS_LIMIT_PERCENT


def is_overloaded(block: Block) -> bool:
    """Whether a block of an open workload showed that its rate is too high for the service."""
    return block.rate_per_s is not None and is_too_high(
        measured_s=block.measured_to_unix_s - block.measured_from_unix_s,
        waited_s=block.ended_at_unix_s - block.measured_to_unix_s,
        left=(block.over_bound or 0) + (block.unanswered or 0),
    )


def step_of(block: Block, objective: Objective, times_ms: Sequence[float], failed: int) -> Step:
    """A block of a capacity search, as the search sees it. What the load generator dropped is left out: it says nothing
    of the service, and the few requests that are due just as a block ends would be too many failures for an objective
    that allows one in a thousand.

    Args:
        block: the block, which has ended.
        objective: what is to be met.
        times_ms: the response times of the requests of its measured part that were answered rightly.
        failed: how many others of its requests failed.
    """
    failed += (block.over_bound or 0) + (block.unanswered or 0)
    return Step(
        rate_per_s=block.rate_per_s or 0.0,
        seconds=block.measured_to_unix_s - block.measured_from_unix_s,
        offered=len(times_ms) + failed,
        missed=objective.missed(times_ms, failed),
        is_overloaded=is_overloaded(block),
    )


@dataclass
class Block:
    """A stretch of load on one target, as it goes on. Times that have not come yet are infinite.

    ``phase`` is None until the block has ended: only then is known whether it was disturbed. A pass over the texts is
    measured in any case, so that it has its phase from the beginning. ``rate_per_s``, and what was ``dropped``,
    ``over_bound`` and ``unanswered`` in its measured part, are those of an open workload.
    """

    number: int
    cycle: int
    began_at_unix_s: float
    measured_from_unix_s: float = math.inf
    measured_to_unix_s: float = math.inf
    ended_at_unix_s: float = math.inf
    phase: str | None = None
    others_cpu_percent: float | None = None
    rate_per_s: float | None = None
    dropped: int | None = None
    over_bound: int | None = None
    unanswered: int | None = None

    def cut_off(self, at_unix_s: float) -> None:
        """End a block before its end. None of it was measured."""
        self.measured_from_unix_s = self.measured_to_unix_s = math.inf
        self.ended_at_unix_s, self.phase = at_unix_s, SETTLING

    def phase_at(self, at_unix_s: float) -> str | None:
        """The phase of what happened at a moment of this block; None: not known before the block has ended."""
        if self.measured_from_unix_s <= at_unix_s <= self.measured_to_unix_s:
            return self.phase
        return SETTLING
