"""Records a load in blocks: one recording for each deployment that it visits, as if each had its own run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gevent
from _blocks import Block, LoadInBlocks, is_disturbed, step_of
from _other_programs import CpuReading, WorkerProcesses, cpu_reading
from locust.env import Environment

from runfiles.events import DISTURBED, MEASURED, NO_REPLICAS
from runfiles.objective import Objective, Step
from runfiles.records import Blocks

from _machine import MachineMonitor
from _recording import Recording
from _request_batch import RequestBatch
from _run_record import Run


class BlockRecording:
    """The recordings of all targets. A request is recorded with the target of its block; what concerns the whole load,
    such as a fault or a sample of the machine, with each of them."""

    def __init__(self, environment: Environment, load: LoadInBlocks) -> None:
        self._load = load
        self._recordings = [
            Recording(environment, Run.of_target(environment, load, target), end=_go_on_to_the_end_of_the_cycle)
            for target in load.targets
        ]
        for target, recording in zip(load.targets, self._recordings, strict=True):
            recording.blocks = Blocks(
                deployment=target.deployment,
                deployments=tuple(target.deployment for target in load.targets),
                group=load.group,
                block_s=load.block_s,
                settle_s=load.settle_s,
                planned=load.blocks,
                repeated=0,
                disturbed=0,
            )
        self._of_block: dict[int | None, Recording] = {}
        self._worker_processes = WorkerProcesses()
        self._machine: MachineMonitor | None = None

    def begin(self) -> None:
        """Open the files of all targets.

        Raises:
            OSError: a file can't be opened. None stays open.
        """
        begun: list[Recording] = []
        try:
            for recording in self._recordings:
                recording.begin()
                begun.append(recording)
        except OSError:
            for recording in begun:
                recording.close()
            raise

    def begin_to_sample(self) -> None:
        """Start the monitors of all targets, and one of the machine."""
        if any(target.replicas != NO_REPLICAS for target in self._load.targets):
            self._machine = MachineMonitor(self._add_machine_sample)
        for recording in self._recordings:
            recording.begin_to_sample(with_machine=False)

    def begin_block(self, target: int, block: Block) -> None:
        self._of_block[block.number] = self._recordings[target]
        self._recordings[target].begin_block(block)

    def end_block(self, block: Block) -> None:
        recording = self._of_block[block.number]
        blocks = recording.blocks
        if blocks is not None:
            repeated = blocks.repeated + (block.phase == DISTURBED)
            disturbed = blocks.disturbed + (block.phase == MEASURED and is_disturbed(block.others_cpu_percent))
            recording.blocks = replace(blocks, repeated=repeated, disturbed=disturbed)
        recording.end_block(block)

    def step_of(self, block: Block, objective: Objective) -> Step:
        """A block that has ended, as a capacity search sees it."""
        recording = self._of_block[block.number]
        return step_of(block, objective, recording.block_times_ms, recording.block_failed)

    def read_cpu(self) -> CpuReading:
        """Take a sample of all replicas and of the machine, and say how much CPU each has used so far."""
        used = [recording.sample_now() for recording in self._recordings]
        machine = None if self._machine is None else self._machine.sample()
        return cpu_reading(machine, self._worker_processes.cpu_seconds(), used)

    def has_enough(self) -> bool:
        """Whether each target has as many measured requests as were asked for."""
        asked = self._load.requests
        return asked is not None and all(recording.measured >= asked for recording in self._recordings)

    def add_requests(self, batch: RequestBatch) -> None:
        self._of_block[batch.block].add_requests(batch)

    def add_unsent(self, arrival: dict[str, Any]) -> None:
        self._of_block[arrival["block"]].add_unsent(arrival)

    def add_cpu_warning(self) -> None:
        for recording in self._recordings:
            recording.add_cpu_warning()

    def note_fault(self, kind: str, text: str) -> None:
        for recording in self._recordings:
            recording.note_fault(kind, text)

    def note_worker(self, client_id: str, spent: dict[str, float]) -> None:
        for recording in self._recordings:
            recording.note_worker(client_id, spent)

    def note_clock(self, client_id: str, ahead_s: float) -> None:
        for recording in self._recordings:
            recording.note_clock(client_id, ahead_s)

    def note_worker_process(self, node: str, pid: int) -> None:
        """Note where a worker runs, so that its CPU is not taken for that of another program."""
        self._worker_processes.note(node, pid)

    def stop(self, ended_by: str | None, ended_at_unix_s: float | None = None) -> None:
        """As ``Recording.stop``. The load has ended."""
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.stop()
        # At once: each may wait for an engine that hangs.
        stops = [gevent.spawn(recording.stop, ended_by, ended_at_unix_s) for recording in self._recordings]
        gevent.joinall(stops, raise_error=True)

    def close(self) -> bool:
        """As ``Recording.close``, of all of them."""
        are_whole = [recording.close() for recording in self._recordings]
        return all(are_whole)

    def _add_machine_sample(self, row: dict[str, Any]) -> None:
        for recording in self._recordings:
            recording.add_machine_sample(dict(row))


def _go_on_to_the_end_of_the_cycle(_reason: str) -> None:
    """What a target does that has enough requests: the others may not have them yet."""
