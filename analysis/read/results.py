"""Reading an experiment's folder: records as they are, CSV files as frames, nothing judged yet."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from analysis.read.csvs import UnreadableFile
from analysis.read.note import read_note
from analysis.read.records import UnreadableResults, read_record, unreadable
from analysis.read.runs import Run, read_run
from runfiles.deployments import HOST, SWARM, title_of
from runfiles.events import STATUS_MEASURED
from runfiles.files import (
    EXPERIMENT_FILE,
    LOAD,
    RUN_RECORD_SUFFIX,
    SINGLE_PASS,
    OutsideFolder,
    inside,
    load_prefix,
)
from runfiles.machines import EngineElsewhere, Machine, engine_elsewhere
from runfiles.places import BENCH
from runfiles.records import BlankRecord, DeploymentRecord, ExperimentRecord, Image, Limits, Python, RoundRecord


@dataclass(frozen=True)
class Round:
    """One start of a deployment and what was measured of it. ``status`` is measured, failed or not run.

    ``started_at``: when its service was started (ISO 8601). ``limits``: what the service was confined to, ``cpus``
    (cores) and ``memory_bytes``, None where to nothing.
    ``unread`` says which of its files could not be read, and why; what they hold is in no figure.
    ``group``: the group of deployments beside which it was measured; None: alone. ``reference_loads``: its loads in
    other groups, of which it was the reference, by their numbers.
    """

    number: int
    status: str
    reason: str | None
    seconds_to_healthy: float | None
    started_at: str | None
    limits: Limits
    single_pass: Run | None
    load: Run | None
    unread: tuple[str, ...]
    group: int | None = None
    reference_loads: Mapping[int, Run] = field(default_factory=dict)

    @property
    def runs(self) -> list[Run]:
        """All its runs: the single pass, and all loads."""
        return [run for run in (self.single_pass, self.load, *self.reference_loads.values()) if run is not None]

    @property
    def loads_by_group(self) -> dict[int | None, Run]:
        """Its load in each group in which it was measured."""
        own = [] if self.load is None else [(self.group, self.load)]
        return dict([*own, *self.reference_loads.items()])


@dataclass(frozen=True)
class Deployment:
    """One row of the experiment. ``status`` is measured, failed or not run; ``reason`` says why, where not measured.

    ``tells_model``: its service should say which model answers. ``python``: what the host process runs on; None: not
    known, or no Python. ``is_searched``: its load was a search for its capacity, which chooses the rates itself.
    """

    name: str
    status: str
    reason: str | None
    image: Image | None
    rounds: tuple[Round, ...]
    tells_model: bool = True
    python: Python | None = None
    is_searched: bool = False

    @property
    def is_host(self) -> bool:
        """Whether it is the host process; all others are containers."""
        return self.name == HOST

    @property
    def is_swarm(self) -> bool:
        """Whether Swarm runs it: its name says of which kind it is, and then how many replicas it has."""
        return self.name.partition("-")[0] == SWARM

    @property
    def is_proxied(self) -> bool:
        """Whether Compose runs several replicas of it behind a proxy, as its name says."""
        return self.name.startswith("compose-")

    @property
    def is_open(self) -> bool:
        """Whether the requests of its loads were due at a rate, whatever was answered."""
        return any(run.record.open is not None for run in self.loads.values())

    @property
    def title(self) -> str:
        return title_of(self.name)

    @property
    def measured_rounds(self) -> list[Round]:
        """The rounds that enter figures; what a failed round left is in none."""
        if self.status != STATUS_MEASURED:
            return []
        return [each for each in self.rounds if each.status == STATUS_MEASURED]

    @property
    def loads(self) -> dict[int, Run]:
        """The load of each measured round that has one, by the round's number."""
        return {each.number: each.load for each in self.measured_rounds if each.load is not None}

    @property
    def single_passes(self) -> dict[int, Run]:
        """The single pass of each measured round that has one, by the round's number."""
        return {each.number: each.single_pass for each in self.measured_rounds if each.single_pass is not None}


@dataclass(frozen=True)
class Results:
    """One experiment: its folder, its record, its deployments in the order in which they are shown, and the ``note``
    in its folder, empty where there is none.

    ``blank``: the run against a responder that answers at once; None where there is none that can be read, and then
    ``why_no_blank`` says why.
    """

    folder: Path
    experiment: ExperimentRecord
    deployments: tuple[Deployment, ...]
    note: str = ""
    blank: Run | None = None
    why_no_blank: str | None = None

    @cached_property
    def engine_elsewhere(self) -> EngineElsewhere | None:
        """The engine, where it ran on another machine than the load generator; None where nothing shows that."""
        engine = self.experiment.engine
        return None if engine is None else engine_elsewhere(self.experiment.machine, engine)

    @cached_property
    def host_apart(self) -> EngineElsewhere | None:
        """The engine, where it ran on another machine than the host process; None where nothing shows that."""
        engine = self.experiment.engine
        return None if engine is None else engine_elsewhere(self.host_machine, engine)

    @property
    def host_machine(self) -> Machine:
        """The machine of the host process."""
        return self.experiment.host_machine or self.experiment.machine

    @cached_property
    def side_by_side(self) -> dict[tuple[int, int], list[tuple[Deployment, Run]]]:
        """The loads that came in blocks, by the numbers of their round and group: those of one group by turns."""
        found: dict[tuple[int, int], list[tuple[Deployment, Run]]] = {}
        for deployment in self.deployments:
            for round_ in deployment.measured_rounds:
                for group, run in round_.loads_by_group.items():
                    if group is not None and run.axis is not None:
                        found.setdefault((round_.number, group), []).append((deployment, run))
        return found

    @property
    def is_staircase(self) -> bool:
        """Whether the plan has several rates, which rise from block to block."""
        return len(self.experiment.plan.rates) > 1

    @property
    def is_search(self) -> bool:
        """Whether the load of each round was a search for the capacity."""
        return self.experiment.plan.capacity is not None

    @property
    def has_several_rates(self) -> bool:
        """Whether a load had several rates, those of a staircase or of a search for the capacity: then most figures are
        those of one of them."""
        return self.is_staircase or self.is_search

    @property
    def has_changes(self) -> bool:
        """Whether the plan changes the deployments while the load goes on."""
        return bool(self.experiment.plan.changes)

    @property
    def is_mixed(self) -> bool:
        """Whether one figure for a whole load would mix several states: several rates, or before and after a change."""
        return self.has_several_rates or self.has_changes

    @property
    def runs(self) -> list[Run]:
        """All runs of all measured rounds of all deployments, single passes too."""
        rounds = [each for deployment in self.deployments for each in deployment.measured_rounds]
        return [run for each in rounds for run in each.runs]


def read_results(folder: Path) -> Results:
    """Read the folder that ``python -m infra run`` wrote; runs that were cut off are read as far as they got.

    Raises:
        UnreadableResults: it holds no experiment, or one in another form. A run that can't be read is no error: it is
            left out, and its round's ``unread`` says why.
    """
    try:
        path = inside(folder, EXPERIMENT_FILE)
        is_there = path.exists()
    except OutsideFolder as error:
        raise UnreadableResults(f"{error}; name a folder that `{BENCH}` wrote") from error
    except OSError as error:
        raise UnreadableResults(f"{folder} can't be read ({error.strerror})") from error
    if not is_there:
        raise UnreadableResults(
            f"{folder} holds no {EXPERIMENT_FILE}; name one that `{BENCH}` wrote, such as results/<time>"
        )
    experiment = read_record(path, ExperimentRecord)
    _refuse_duplicates(folder, path, experiment.deployments)
    deployments = tuple(_read_deployment(folder, experiment, record) for record in experiment.deployments)
    blank, why_no_blank = _read_blank(folder, experiment.blank)
    return Results(folder, experiment, deployments, read_note(folder), blank, why_no_blank)


def _read_blank(folder: Path, record: BlankRecord | None) -> tuple[Run | None, str | None]:
    """The run of the blank, or why there is none."""
    if record is None:
        return None, "no blank was measured"
    if record.status != STATUS_MEASURED:
        return None, f"the blank was not measured: {record.reason or 'no reason was given'}"
    found = _read_runs(folder, record.folder, (LOAD,), (LOAD,))
    return found.runs[LOAD], next(iter(found.unread), None)


def _refuse_duplicates(folder: Path, path: Path, deployments: tuple[DeploymentRecord, ...]) -> None:
    """No deployment, no round and no folder may stand there twice: one measurement would count as two.

    Raises:
        UnreadableResults: one does, or a folder does not lie in the experiment's.
    """
    titles: dict[str, str] = {}
    folders: dict[Path, str] = {}
    for deployment in deployments:
        name = deployment.name
        title = title_of(name)
        if title in titles:
            raise unreadable(path, f"name: two deployments are called {name!r} or {title!r}")
        titles[title] = name
        numbers: set[int] = set()
        for record in deployment.rounds:
            where = f"{name}, round {record.number}"
            if record.number in numbers:
                raise unreadable(path, f"number: {where} is there twice")
            numbers.add(record.number)
            try:
                own = inside(folder, record.folder)
            except OutsideFolder as error:
                raise unreadable(path, f"folder of {where}: {error}") from error
            if own in folders:
                raise unreadable(path, f"folder of {where}: {record.folder} is also that of {folders[own]}")
            folders[own] = where


def _read_deployment(folder: Path, experiment: ExperimentRecord, record: DeploymentRecord) -> Deployment:
    rounds = sorted(record.rounds, key=lambda each: each.number)
    return Deployment(
        name=record.name,
        status=record.status,
        reason=record.reason,
        image=record.image,
        rounds=tuple(_read_round(folder, each) for each in rounds),
        tells_model=experiment.service is None or experiment.service.tells_model,
        is_searched=experiment.plan.capacity is not None,
        python=record.python,
    )


@dataclass(frozen=True)
class _Runs:
    """The runs of a folder by their prefixes, and why some could not be read."""

    runs: Mapping[str, Run | None]
    unread: tuple[str, ...]


def _read_runs(folder: Path, own: str, prefixes: Iterable[str], needed: Iterable[str]) -> _Runs:
    """The runs in the folder ``own`` of an experiment; those in ``needed`` took place, so they must be there."""
    unread: list[str] = []
    runs: dict[str, Run | None] = {}
    for prefix in prefixes:
        try:
            run = read_run(folder, f"{own}/{prefix}")
            if run is None and prefix in needed:
                unread.append(
                    f"{own}/{prefix}{RUN_RECORD_SUFFIX} is missing, though the run took place; "
                    "put it back or measure again"
                )
        except (UnreadableResults, UnreadableFile, OutsideFolder, OSError) as error:
            run = None
            unread.append(str(error).removeprefix(f"{folder.resolve()}{os.sep}"))
        runs[prefix] = run
    return _Runs(runs, tuple(unread))


def _read_round(folder: Path, record: RoundRecord) -> Round:
    others = {group: load_prefix(group, is_first=False) for group in record.reference_in}
    needed = (*record.runs, *(others.values() if LOAD in record.runs else ()))
    found = _read_runs(folder, record.folder, (SINGLE_PASS, LOAD, *others.values()), needed)
    reference_loads = {group: found.runs[prefix] for group, prefix in others.items()}
    return Round(
        number=record.number,
        status=record.status,
        reason=record.reason,
        seconds_to_healthy=record.seconds_to_healthy,
        started_at=record.started_at,
        limits=record.limits,
        single_pass=found.runs[SINGLE_PASS],
        load=found.runs[LOAD],
        unread=found.unread,
        group=record.group,
        reference_loads={group: run for group, run in reference_loads.items() if run is not None},
    )
