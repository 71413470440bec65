"""``experiment.json``: the plan, the circumstances, and what became of each round. Written anew after each step, whole
or not at all, so that an experiment that is cut off at any moment can be analysed, and continued."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.clock import unix_s
from infra.errors import PlanError, RecordError, ResumeError, why
from infra.experiment.circumstances import Circumstances
from infra.experiment.plan import Plan, plan_of
from infra.experiment.resumable import check_resumable
from runfiles.deployments import listed
from runfiles.events import CUT_OFF, FAILED, NOT_RUN, STATUS_MEASURED, TURNS
from runfiles.files import EXPERIMENT_FILE, flush_folder, inside, round_folder, write_whole
from runfiles.records import DeploymentRecord, ExperimentRecord, MeasuredService, Options, RoundRecord
from runfiles.strict_json import read_record

BEFORE_ITS_TURN = "the experiment ended before its turn"
NOT_IN_THE_PLAN = "not in the plan"


@dataclass(frozen=True)
class Step:
    """What is measured at once in a round: one deployment in its turn, or a ``group`` of them in blocks (from 1)."""

    number: int
    names: tuple[str, ...]
    group: int | None = None


class Journal:
    """The record of one experiment, in memory and on disk."""

    def __init__(self, folder: Path, record: ExperimentRecord, options: Options) -> None:
        self._path = folder / EXPERIMENT_FILE
        self.record = record
        self.options = options
        self.plan = plan_of(record.plan, str(self._path))

    @classmethod
    def begin(
        cls,
        folder: Path,
        plan: Plan,
        command: str,
        circumstances: Circumstances,
        options: Options,
        service: MeasuredService,
    ) -> Journal:
        """A new experiment, of which nothing is measured yet.

        Raises:
            RecordError: its record can't be written.
        """
        record = ExperimentRecord(
            started_at=now(),
            command=command,
            machine=circumstances.machine,
            git=circumstances.git,
            versions=circumstances.versions,
            environment=circumstances.environment,
            engine=circumstances.engine,
            model=circumstances.model,
            options=options,
            service=service,
            plan=plan.record,
            order=tuple(map(tuple, plan.order(plan.rounds or 0))),
            deployments=tuple(_nothing_yet(name, plan) for name in listed(plan.deployments)),
        )
        journal = cls(folder, record, options)
        journal._write()
        return journal

    @classmethod
    def reopen(cls, folder: Path) -> Journal:
        """An experiment that was begun before.

        Raises:
            ResumeError: the folder holds none, or none that can be continued.
        """
        path = folder / EXPERIMENT_FILE
        try:
            content = read_record(inside(folder, EXPERIMENT_FILE))
            record = ExperimentRecord.from_json(content)
            return cls(folder, record, check_resumable(record, content))
        except FileNotFoundError as error:
            raise ResumeError(f"{folder} holds no {path.name}; name a folder such as results/<time>") from error
        except (OSError, ValueError, PlanError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ResumeError(f"{path} can't be read ({reason}); begin a new experiment") from error

    def add_round(self) -> None:
        """Begin a further round, where the plan says no number of rounds."""
        number = len(self.record.order) + 1
        for name in self.plan.deployments:
            self._put_round(name, _round_not_begun(name, number))
        self.note(order=tuple(map(tuple, self.plan.order(number))))

    def steps(self, number: int) -> list[Step]:
        """What is measured in a round, one after another."""
        order = self.record.order[number - 1]
        if self.plan.layout == TURNS:
            return [Step(number, (name,)) for name in order]
        groups = self.record.groups or (order,)
        return [
            Step(number, tuple(name for name in order if name in members), group)
            for group, members in enumerate(groups, 1)
        ]

    def own(self, step: Step) -> list[str]:
        """The deployments whose round this is. A group's reference has its round in the first of its groups."""
        groups = self.record.groups[: (step.group or 1) - 1]
        return [name for name in step.names if not any(name in members for members in groups)]

    def left(self) -> Iterator[Step]:
        """All steps that are not measured whole, in the order of the plan."""
        for number in range(1, len(self.record.order) + 1):
            yield from (step for step in self.steps(number) if not self.is_measured(step))

    def is_measured(self, step: Step) -> bool:
        """Whether all of a step's deployments are measured, and its reference is."""
        own = self.own(step)
        others = [self.round(name, step.number) for name in step.names if name not in own]
        return all(self.round(name, step.number).status == STATUS_MEASURED for name in own) and all(
            step.group in each.reference_in for each in others
        )

    def cut_off(self) -> list[str]:
        """The deployments that may still be there, since the experiment ended while they ran."""
        steps = [step for number in range(1, len(self.record.order) + 1) for step in self.steps(number)]
        broken = [
            step
            for step in steps
            for each in (self.round(name, step.number) for name in self.own(step))
            if each.status == FAILED and each.reason == CUT_OFF
        ]
        return list(dict.fromkeys(name for step in broken for name in step.names))

    def round(self, name: str, number: int) -> RoundRecord:
        """What is known of one round."""
        return next(each for each in self._deployment(name).rounds if each.number == number)

    def note(self, **values: Any) -> None:
        """Set what is known of the experiment."""
        self.record = replace(self.record, **values)
        self._write()

    def note_deployment(self, name: str, **values: Any) -> None:
        """Set what is known of a deployment, whatever the round."""
        noted = replace(self._deployment(name), **values)
        deployments = self.record.deployments
        self.note(deployments=tuple(noted if known.name == name else known for known in deployments))

    def note_round(self, name: str, number: int, **values: Any) -> None:
        """Set what is known of a round; the deployment's status follows from its rounds."""
        self._put_round(name, replace(self.round(name, number), **values))

    def restart_round(self, name: str, number: int, **values: Any) -> None:
        """Forget what an earlier try of a round left, and set what is known of this one."""
        self._put_round(name, replace(_round_not_begun(name, number), **values))

    def statuses(self) -> list[str]:
        """Of all rounds of the plan, one by one."""
        return [each.status for deployment in self.record.deployments for each in deployment.rounds]

    def _put_round(self, name: str, noted: RoundRecord) -> None:
        known = {each.number: each for each in self._deployment(name).rounds}
        rounds = tuple((known | {noted.number: noted}).values())
        status, reason = _status(rounds)
        self.note_deployment(name, status=status, reason=reason, rounds=rounds)

    def _deployment(self, name: str) -> DeploymentRecord:
        return next(deployment for deployment in self.record.deployments if deployment.name == name)

    def _write(self) -> None:
        """
        Raises:
            RecordError: it can't be written. What it said before is still there.
        """
        try:
            write_whole(self._path, self.record.text())
        except OSError as error:
            reason = why(OSError(error.errno, error.strerror), self._path)  # named is the file that was to become it
            raise RecordError(f"the record can't be written: {reason}") from error


def flush_files(folder: Path) -> None:
    """Have all files below a folder on the disk: what the journal calls measured has to outlast a power loss."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            continue
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        elif path.is_dir():
            flush_folder(path)
    flush_folder(folder)


def now() -> str:
    return datetime.fromtimestamp(unix_s(), UTC).isoformat(timespec="seconds")


def _nothing_yet(name: str, plan: Plan) -> DeploymentRecord:
    is_planned = name in plan.deployments
    numbers = range(1, (plan.rounds or 0) + 1) if is_planned else ()
    return DeploymentRecord(
        name=name,
        status=NOT_RUN,
        reason=BEFORE_ITS_TURN if is_planned else NOT_IN_THE_PLAN,
        rounds=tuple(_round_not_begun(name, number) for number in numbers),
    )


def _round_not_begun(name: str, number: int) -> RoundRecord:
    return RoundRecord(number=number, status=NOT_RUN, reason=BEFORE_ITS_TURN, folder=round_folder(name, number))


def _status(rounds: Sequence[RoundRecord]) -> tuple[str, str | None]:
    """A deployment's status, and of the first of its rounds that was not measured why not."""
    statuses = [each.status for each in rounds]
    status = next((status for status in (STATUS_MEASURED, FAILED) if status in statuses), NOT_RUN)
    failures_first = sorted(rounds, key=lambda each: each.status != FAILED)  # a failure says more
    reasons = [each.reason for each in failures_first if each.status != STATUS_MEASURED]
    return status, reasons[0] if reasons else None
