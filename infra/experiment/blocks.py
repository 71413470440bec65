"""The layout "blocks": a round of a group of deployments, which run at once while the load visits them in blocks."""

from __future__ import annotations

import csv
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from infra.deployments.docker_engine import FAILURES
from infra.deployments.table import Running, deployed
from infra.errors import DeploymentError
from infra.experiment.bench import Bench, Seldom
from infra.experiment.journal import Step, flush_files, now
from infra.experiment.load import Outcome, ServiceGone, Target, rows_so_far, run_locust
from infra.experiment.plan import Plan
from runfiles.deployments import title_of
from runfiles.events import CUT_OFF, FAILED, STATUS_MEASURED
from runfiles.files import (
    BLOCKS_SUFFIX,
    LOAD,
    RUN_SUFFIXES,
    SINGLE_PASS,
    group_folder,
    load_prefix,
    round_folder,
    write_whole,
)

BLOCKS_FILE = "blocks.json"
"""What Locust is told of the load, in the group's folder."""

LAST_STEPS = 5
"""The last steps of a search, which tell where the limit is."""


def blocks_of(
    plan: Plan, step: Step, targets: Mapping[str, tuple[str, str, Path]], first_rates: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """What Locust is told of a group's load, as ``--blocks`` takes it.

    Args:
        plan: the plan.
        step: the round and the group.
        targets: of each deployment its URL, its replicas, and the prefix of the files of its run.
        first_rates: of deployments whose capacity was searched before, where the search is to begin (per second).
    """
    return {
        "group": step.group,
        "block_s": plan.block_s,
        "settle_s": plan.settle_s,
        "rates": () if plan.capacity else plan.all_rates,
        "capacity": capacity_load(plan, len(targets)),
        "warm_up_blocks": plan.warm_up_blocks,
        "blocks": plan.blocks,
        "most_repeats": plan.blocks // 2,
        "requests": plan.requests,
        "order_seed": plan.seed * 1_000_000 + step.number * 100 + (step.group or 0),
        "targets": [
            {
                "deployment": name,
                "host": url,
                "replicas": replicas,
                "csv": str(prefix.resolve()),
                "first_per_s": (first_rates or {}).get(name),
            }
            for name, (url, replicas, prefix) in targets.items()
        ],
    }


def capacity_load(plan: Plan, deployments: int) -> dict[str, Any] | None:
    """What Locust is told of a search for the capacity of so many deployments; None: there is none."""
    if plan.capacity is None:
        return None
    return {
        "objective": plan.capacity.slo,
        "lowest_per_s": plan.capacity.lowest,
        "highest_per_s": plan.capacity.highest,
        "budget_s": plan.search_s(deployments),
        "tolerance": plan.capacity.tolerance / 100,
    }


def first_rate(earlier: Path) -> float | None:
    """Where the next search of a capacity begins: below the limit that an earlier one has found, so that its first
    steps lie on both sides of it. Requests per second; None: the earlier search tells nothing.

    Args:
        earlier: the prefix of the earlier search's files.
    """
    try:
        with Path(f"{earlier}{BLOCKS_SUFFIX}").open(encoding="utf-8", newline="") as file:
            rates = [float(row["rate_per_s"]) for row in csv.DictReader(file)]
    except (OSError, ValueError, LookupError, csv.Error):
        return None
    return median(rates[-LAST_STEPS:]) / math.sqrt(2) if len(rates) >= LAST_STEPS else None


def measure_group(bench: Bench, step: Step) -> None:
    """Measure a round of a group: of each deployment the single pass, then the load of all. The record tells what
    became of each.

    Raises:
        RecordError: the record can't be written.
    """
    GroupRound(bench, step).measure()


class GroupRound:
    """One round of one group. A deployment that fails is removed, and the others go on without it."""

    def __init__(self, bench: Bench, step: Step) -> None:
        self._bench = bench
        self._step = step
        self._number = step.number
        self._group = step.group or 1
        self._own = bench.journal.own(step)
        group = f"Group {self._group}" if len(bench.journal.record.groups) > 1 else ""
        self._title = bench.title(group, step.number)
        self._running: dict[str, Running] = {}
        self._loaded: list[str] = []
        self._removals: dict[str, ExitStack] = {}
        self._folder = bench.folder / group_folder(self._group, self._number)

    def measure(self) -> None:
        began = time.monotonic()
        names = self._step.names
        self._restart()
        with ExitStack() as everything:
            if not self._try_all(names, self._make_folders):
                return
            for name in names:
                self._try(name, lambda name: self._start(name, everything))
            for name in self._own:
                if name in self._running:
                    self._try(name, self._single_pass)
            self._load()
            self._bench.view.do(f"{self._title}: removing")
            for name in list(self._running):
                self._try(name, self._remove)
        measured = list(self._loaded)
        if not self._try_all(measured, lambda: self._note_measured(measured)):
            return
        if measured:
            taken_s = time.monotonic() - began
            titles = ", ".join(map(title_of, measured))
            self._bench.view.end_step()
            self._bench.view.say(f"{self._title}: {titles} measured in {taken_s:.0f} s; {self._bench.view.remaining()}")

    def _restart(self) -> None:
        """Forget what an earlier try of this group's round left."""
        journal, number = self._bench.journal, self._number
        for name in self._step.names:
            reference_in = journal.round(name, number).reference_in
            if name in self._own:
                journal.restart_round(
                    name,
                    number,
                    status=FAILED,
                    reason=CUT_OFF,
                    started_at=now(),
                    group=self._group,
                    reference_in=reference_in,
                )
            else:
                kept = tuple(group for group in reference_in if group != self._group)
                journal.note_round(name, number, reference_in=kept)

    def _make_folders(self) -> None:
        bench = self._bench
        bench.emptied_folder(group_folder(self._group, self._number)).mkdir(parents=True)
        for name in self._step.names:
            relative = round_folder(name, self._number)
            folder = bench.own_folder(relative)
            folder.mkdir(parents=True, exist_ok=True)
            if name in self._own:
                self._clear(folder, bench.journal.round(name, self._number).reference_in)
            else:
                _remove_run(self._prefix(name))

    def _clear(self, folder: Path, reference_in: Sequence[int]) -> None:
        """Remove what an earlier try left in a round's folder. Loads in other groups stay."""
        kept = tuple(f"{load_prefix(group, is_first=False)}_" for group in reference_in)
        for path in folder.iterdir():
            if kept and path.name.startswith(kept):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _prefix(self, name: str) -> Path:
        """Of the files of a deployment's load."""
        prefix = load_prefix(self._group, is_first=name in self._own)
        return self._bench.folder / round_folder(name, self._number) / prefix

    def _start(self, name: str, everything: ExitStack) -> None:
        bench, is_own = self._bench, name in self._own
        bench.view.do(f"{self._title}: starting {title_of(name)}")
        folder = bench.folder / round_folder(name, self._number) if is_own else self._folder
        removal = everything.enter_context(ExitStack())
        running = removal.enter_context(deployed(name, bench.settings, folder))
        self._running[name], self._removals[name] = running, removal
        if is_own:
            bench.journal.note_round(
                name, self._number, seconds_to_healthy=running.seconds_to_healthy, limits=running.service.limits
            )

    def _single_pass(self, name: str) -> None:
        self._bench.single_pass(self._running[name], self._number)
        self._bench.measure_blank(self._running[name])

    def _load(self) -> None:
        """Send the load. If a service ends meanwhile, send it once more from its beginning to the others."""
        try:
            outcomes = self._send()
        except ServiceGone as gone:
            self._fail(gone.deployment, gone)
            if self._running:
                self._bench.view.say(f"{self._title}: the load begins anew, without {title_of(gone.deployment)}")
            outcomes = self._send_again()
        except FAILURES as error:
            self._fail_all(error)
            return
        for name, outcome in outcomes.items():
            self._try(name, partial(self._take, outcome))

    def _send_again(self) -> dict[str, Outcome]:
        try:
            return self._send()
        except ServiceGone as gone:
            self._fail(gone.deployment, gone)
            self._fail_all(
                DeploymentError(f"{title_of(gone.deployment)} ended too, when the load had begun anew: {gone}")
            )
        except FAILURES as error:
            self._fail_all(error)
        return {}

    def _send(self) -> dict[str, Outcome]:
        """
        Raises:
            ServiceGone: a service is gone.
            DeploymentError: Locust could not run, or could not write its files.
        """
        if not any(name in self._own for name in self._running):
            return {}
        bench, plan = self._bench, self._bench.plan
        prefixes = {name: self._prefix(name) for name in self._running}
        for prefix in [self._folder / LOAD, *prefixes.values()]:
            _remove_run(prefix)
        said = {name: (each.url, each.service.replicas, prefixes[name]) for name, each in self._running.items()}
        file = self._folder / BLOCKS_FILE
        blocks_said = blocks_of(plan, self._step, said, self._first_rates() if plan.capacity else None)
        write_whole(file, json.dumps(blocks_said, indent=1) + "\n")
        arguments = ["--blocks", str(file.resolve()), *plan.load_arguments]
        blocks = (plan.warm_up_blocks + plan.blocks) * len(prefixes)
        seldom = Seldom()

        def show() -> None:
            if seldom.is_due():
                block = sum(rows_so_far(prefix, BLOCKS_SUFFIX) for prefix in prefixes.values())
                requests = sum(map(rows_so_far, prefixes.values()))
                # Repeated blocks come on top, and a search has as many as it needs.
                of = f" of {max(block, blocks)}" if plan.capacity is None else ""
                load = f"load of {plan.load_in_words}" if plan.capacity is None else plan.load_in_words
                bench.view.do(f"{self._title}: {load}, block {block}{of}, {requests} requests")

        sent = bench.load(plan.locustfile, self._folder / LOAD, arguments, show)
        targets = [Target(name, prefixes[name], each.service) for name, each in self._running.items()]
        return run_locust(sent, targets)

    def _first_rates(self) -> dict[str, float]:
        """Where the searches of this round begin, as far as the round before tells."""
        found = {}
        for name in self._running:
            earlier = self._bench.folder / round_folder(name, self._number - 1) / self._prefix(name).name
            if (rate := first_rate(earlier)) is not None:
                found[name] = rate
        return found

    def _take(self, outcome: Outcome, name: str) -> None:
        self._bench.refuse_failed(outcome, f"{title_of(name)}: load", self._running[name], self._number)
        if name in self._own:
            self._bench.journal.note_round(name, self._number, runs=(SINGLE_PASS, LOAD))
        self._loaded.append(name)

    def _remove(self, name: str) -> None:
        self._removals[name].close()

    def _note_measured(self, measured: list[str]) -> None:
        flush_files(self._folder)
        for name in measured:
            flush_files(self._bench.folder / round_folder(name, self._number))
        for name in measured:
            if name in self._own:
                self._bench.journal.note_round(name, self._number, status=STATUS_MEASURED, reason=None)
            else:
                before = self._bench.journal.round(name, self._number).reference_in
                self._bench.journal.note_round(name, self._number, reference_in=(*before, self._group))

    def _try(self, name: str, what: Callable[[str], None]) -> None:
        try:
            what(name)
        except FAILURES as error:
            self._fail(name, error)

    def _try_all(self, names: tuple[str, ...] | list[str], what: Callable[[], None]) -> bool:
        """Whether it succeeded. If not, all these deployments failed."""
        try:
            what()
        except FAILURES as error:
            for name in names:
                self._fail(name, error)
            return False
        return True

    def _fail_all(self, error: Exception) -> None:
        for name in list(self._running):
            self._fail(name, error)

    def _fail(self, name: str, error: Exception) -> None:
        """Note why a deployment failed, and remove it."""
        bench = self._bench
        self._running.pop(name, None)
        if name in self._loaded:
            self._loaded.remove(name)
        if name in self._own:
            bench.fail(name, self._number, error)
        else:
            bench.view.say_why(f"{self._title}: {title_of(name)}, its reference", FAILED, bench.why_failed(error))
        try:
            if name in self._removals:
                self._removals.pop(name).close()
        except FAILURES as left:
            bench.view.say(f"{title_of(name)} could not be removed: {bench.why_failed(left)}")


def _remove_run(prefix: Path) -> None:
    """Remove what an earlier try of a run left."""
    for suffix in RUN_SUFFIXES:
        Path(f"{prefix}{suffix}").unlink(missing_ok=True)
