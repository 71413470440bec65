"""A load in blocks, as numbers: its file, the order of the visits, phases, and the CPU of other programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from _blocks import OTHERS_LIMIT_PERCENT, Block, orders, phase_of, read_blocks
from _other_programs import CpuReading, cpu_reading, others_percent
from _phases import InBlocks, InOnePiece, Phases

from runfiles.events import DISTURBED, MEASURED, SETTLING, WAITING, WARM_UP

from _request_batch import RequestBatch

HOST = {"deployment": "host", "host": "127.0.0.1:5000", "replicas": "process:1", "csv": "host/load"}
DOCKER = {"deployment": "docker", "host": "http://127.0.0.1:5050/", "replicas": "container:x", "csv": "docker/load"}
LOAD: dict[str, Any] = {
    "group": 1,
    "block_s": 1.0,
    "settle_s": 0.2,
    "warm_up_blocks": 3,
    "blocks": 10,
    "most_repeats": 5,
    "requests": None,
    "order_seed": 12,
    "targets": [HOST, DOCKER],
}


def write(folder: Path, content: object) -> Path:
    path = folder / "blocks.json"
    path.write_text(json.dumps(content))
    return path


def test_the_file_tells_the_load(tmp_path: Path) -> None:
    load = read_blocks(write(tmp_path, LOAD))
    assert [target.url for target in load.targets] == ["http://127.0.0.1:5000", "http://127.0.0.1:5050"]
    assert (load.block_s, load.settle_s, load.warm_up_s, load.requests) == (1, 0.2, 3, None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"block_s": 0}, "block_s is 0, which is not between"),
        ({"block_s": None}, "block_s is missing"),
        ({"settle_s": -1}, "settle_s is -1"),
        ({"blocks": 0}, "blocks is 0"),
        ({"blocks": 2.5}, "blocks is 2.5, which is no whole number"),
        ({"most_repeats": -1}, "most_repeats is -1"),
        ({"requests": "many"}, "requests is 'many'"),
        ({"group": 0}, "group is 0"),
        ({"order_seed": None}, "order_seed is missing"),
        ({"targets": []}, "targets is empty"),
        ({"targets": [HOST, HOST | {"csv": "other"}]}, "two targets have the same deployment"),
        ({"targets": [HOST, DOCKER | {"csv": "./docker/../host/load"}]}, "two targets have the same csv"),
        ({"targets": [HOST | {"host": "http://h:99999"}]}, "'99999' is not a port"),
        ({"targets": [HOST | {"replicas": "pod:x"}]}, "expected auto, none, container:NAME"),
        ({"targets": [{"deployment": "host"}]}, "targets number 1: host is missing"),
    ],
)
def test_a_wrong_file_is_refused_with_its_reason(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the message is checked below
        read_blocks(write(tmp_path, LOAD | change))
    assert expected in str(error.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.json").write_text("{")
    with pytest.raises(ValueError, match="Expecting property name"):
        read_blocks(tmp_path / "no.json")
    with pytest.raises(OSError, match="No such file"):
        read_blocks(tmp_path / "nowhere.json")


@pytest.mark.parametrize("targets", [1, 2, 3, 5])
def test_each_target_has_each_place_equally_often(targets: int) -> None:
    found = list(islice(orders(targets, seed=3), 12 * targets))
    for place in range(targets):
        assert Counter(order[place] for order in found) == dict.fromkeys(range(targets), 12)
    for first in range(0, 12 * targets, targets):
        turns = found[first : first + targets]
        assert all(sorted(order[place] for order in turns) == list(range(targets)) for place in range(targets))


def test_the_order_is_random_and_the_same_for_the_same_seed() -> None:
    of_seed = {seed: [tuple(order) for order in islice(orders(2, seed), 20)] for seed in range(20)}
    assert all(list(map(tuple, islice(orders(2, seed), 20))) == found for seed, found in of_seed.items())
    assert len(set(map(tuple, of_seed.values()))) == 20
    assert {found[0] for found in of_seed.values()} == {(0, 1), (1, 0)}
    assert [sorted(order) for order in islice(orders(3, 1), 7)] == [[0, 1, 2]] * 7


def test_a_disturbed_block_is_repeated_as_long_as_it_may() -> None:
    above, below = OTHERS_LIMIT_PERCENT + 1, OTHERS_LIMIT_PERCENT
    assert phase_of(is_warm_up=True, others_cpu_percent=above, repeats_left=9) == WARM_UP
    assert phase_of(is_warm_up=False, others_cpu_percent=above, repeats_left=1) == DISTURBED
    assert phase_of(is_warm_up=False, others_cpu_percent=above, repeats_left=0) == MEASURED
    assert phase_of(is_warm_up=False, others_cpu_percent=below, repeats_left=1) == MEASURED
    assert phase_of(is_warm_up=False, others_cpu_percent=None, repeats_left=1) == MEASURED


def sample(at: float) -> dict[str, Any]:
    return {"sampled_at_unix_s": at}


def request(at: float, block: int) -> RequestBatch:
    return RequestBatch(block, started_at_unix_s=[at])


def give(phases: Phases, batch: RequestBatch, written: list[dict[str, Any]]) -> None:
    """Give some requests; ``written`` gets the block and the phase of each."""
    phases.give_requests(
        batch, lambda own, names: written.extend({"block": own.block, "phase": name} for name in names)
    )


def test_rows_get_their_phase_when_their_block_has_ended() -> None:
    phases, written = InBlocks(), list[dict[str, Any]]()
    phases.begin(9)
    phases.give_sample(sample(9.5), written.append)
    block = Block(4, 2, 10.0)
    phases.begin_block(block)
    for at in (10.1, 10.2, 10.9, 11.0, 11.1):
        give(phases, request(at, 4), written)
        phases.give_sample(sample(at), written.append)
    assert [row["phase"] for row in written] == [WAITING]
    block.measured_from_unix_s, block.measured_to_unix_s, block.ended_at_unix_s = 10.2, 11.0, 11.3
    block.phase = DISTURBED
    phases.end_block()
    phases_of_requests = [row["phase"] for row in written if "block" in row]
    assert phases_of_requests == [SETTLING, DISTURBED, DISTURBED, DISTURBED, SETTLING]
    assert [row["phase"] for row in written if "block" not in row] == [WAITING, *phases_of_requests]
    assert [row["sampled_at_unix_s"] for row in written if "block" not in row] == [9.5, 10.1, 10.2, 10.9, 11.0, 11.1]


def test_rows_that_come_after_their_block_get_its_phase_too() -> None:
    """A worker reports them later."""
    phases, written = InBlocks(), list[dict[str, Any]]()
    phases.begin_block(Block(1, 1, 10, 10.2, 11, 11.3, MEASURED))
    phases.end_block()
    give(phases, request(10.5, 1), written)
    give(phases, request(11.2, 1), written)
    phases.give_sample(sample(11.4), written.append)
    assert [row["phase"] for row in written] == [MEASURED, SETTLING, WAITING]
    phases.begin_block(Block(3, 2, 14))
    give(phases, request(10.6, 1), written)
    give(phases, request(14.1, 3), written)
    phases.give_sample(sample(14.1), written.append)
    assert len(written) == 3
    phases.end()  # in the middle of the block
    assert [row["phase"] for row in written[3:]] == [MEASURED, SETTLING, SETTLING]


def test_a_load_in_one_piece_has_its_warm_up_first() -> None:
    phases, written = InOnePiece(2.0), list[dict[str, Any]]()
    phases.begin(100)
    for at in (99.9, 101.9, 102.0):
        phases.give_sample(sample(at), written.append)
        give(phases, request(at, 0), written)
    assert [row["phase"] for row in written] == [WARM_UP] * 4 + [MEASURED] * 2


BEFORE = {"busy_cpu_seconds": 10.0, "softirq_cpu_seconds": 1.0, "generator_cpu_seconds": 2.0}
AFTER = {"busy_cpu_seconds": 13.0, "softirq_cpu_seconds": 1.1, "generator_cpu_seconds": 2.5, "dockerd_cpu_seconds": 0.1}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"1": 5.0, "2": 5.0}, {"1": 5.8, "2": 5.1}, 20.0),
        ({"1": 5.0}, {"1": 8.0}, 0.0),  # ticks of the clock are coarse
        ({"1": 5.0}, {"1": 5.1, "2": 0.1}, None),
        ({"1": 5.0}, None, None),
        (None, {"1": 5.0}, None),
    ],
)
def test_others_are_neither_generator_nor_engine_nor_replicas(
    before: Mapping[str, float] | None, after: Mapping[str, float] | None, expected: float | None
) -> None:
    """Of 3 s: 0.1 softirqs, 0.5 Locust, 0.9 workers, 0.1 dockerd, 0.9 replicas; 0.5 s are left in 2.5 s."""
    first, last = CpuReading(50.0, BEFORE, 1.0, before), CpuReading(52.5, AFTER, 1.9, after)
    assert others_percent(first, last) == (None if expected is None else pytest.approx(expected))


def test_others_are_not_known_without_a_reading_of_each_target() -> None:
    known = cpu_reading(BEFORE, 0.0, [{"1": 1.0}, {"2": 2.0}])
    assert known.replicas_s == {"1": 1.0, "2": 2.0}
    assert others_percent(known, cpu_reading(AFTER, 0.0, [{"1": 1.0}, None])) is None
    assert others_percent(cpu_reading(None, 0.0, [{"1": 1.0}]), cpu_reading(None, 0.0, [{"1": 1.0}])) is None
