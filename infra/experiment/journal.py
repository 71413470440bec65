"""``experiment.json``: the plan, the conditions, and what became of each round. Written anew after each step, whole or
not at all, so that an experiment that is cut off at any moment can be analysed, and continued."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.deployments.service import Limits
from infra.errors import PlanError, RecordError, ResumeError, why
from infra.experiment.plan import Plan, plan_of
from infra.experiment.record_form import check_record
from runfiles.deployments import listed
from runfiles.events import FAILED, MEASURED, NOT_RUN
from runfiles.files import EXPERIMENT_FILE, FORM, flush_folder, inside, round_folder, write_whole
from runfiles.strict_json import read_record

CUT_OFF = "the experiment was cut off while this round ran"
BEFORE_ITS_TURN = "the experiment ended before its turn"
NOT_IN_THE_PLAN = "not in the plan"


class Journal:
    """The record of one experiment, in memory and on disk."""

    def __init__(self, folder: Path, content: dict[str, Any]) -> None:
        self._path = folder / EXPERIMENT_FILE
        self.content = content

    @classmethod
    def begin(cls, folder: Path, plan: Plan, **values: Any) -> Journal:
        """A new experiment, of which nothing is measured yet. ``values`` are further keys of its record."""
        content = {
            "form": FORM,
            "started_at": now(),
            "ended_at": None,
            "resumed_at": [],
            **values,
            "plan": asdict(plan),
            "order": plan.order(),
            "deployments": [_nothing_yet(name, plan) for name in listed(plan.deployments)],
        }
        journal = cls(folder, content)
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
            form = content.get("form") if isinstance(content, dict) else None
            if isinstance(form, int) and form != FORM:
                told = f"{path} is of form {form}, this version writes form {FORM}"
                raise ResumeError(f"{told}; begin a new experiment")
            check_record(content)
        except FileNotFoundError as error:
            raise ResumeError(f"{folder} holds no {path.name}; name a folder such as results/<time>") from error
        except (OSError, ValueError, PlanError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ResumeError(f"{path} can't be read ({reason}); begin a new experiment") from error
        return cls(folder, content)

    @property
    def plan(self) -> Plan:
        return plan_of(self.content["plan"], str(self._path))

    def left(self) -> Iterator[tuple[str, int]]:
        """Deployment and round of all that is not measured yet, in the order of the plan."""
        for number, names in enumerate(self.content["order"], start=1):
            for name in names:
                if self.round(name, number)["status"] != MEASURED:
                    yield name, number

    def cut_off(self) -> list[str]:
        """The deployments that may still be there, since the experiment ended while they ran."""
        rounds = [(one["name"], each) for one in self.content["deployments"] for each in one["rounds"]]
        return [name for name, each in rounds if each["status"] == FAILED and each["reason"] == CUT_OFF]

    def round(self, name: str, number: int) -> dict[str, Any]:
        """What is known of one round."""
        rounds: list[dict[str, Any]] = self._deployment(name)["rounds"]
        return next(one for one in rounds if one["number"] == number)

    def note(self, **values: Any) -> None:
        """Set what is known of the experiment."""
        self.content.update(values)
        self._write()

    def note_deployment(self, name: str, **values: Any) -> None:
        """Set what is known of a deployment, whatever the round."""
        self._deployment(name).update(values)
        self._write()

    def note_round(self, name: str, number: int, **values: Any) -> None:
        """Set what is known of a round; the deployment's status follows from its rounds."""
        self.round(name, number).update(values)
        deployment = self._deployment(name)
        deployment["status"], deployment["reason"] = _status(deployment["rounds"])
        self._write()

    def restart_round(self, name: str, number: int, **values: Any) -> None:
        """Forget what an earlier try of a round left."""
        self.round(name, number).update(_round_not_begun(name, number))
        self.note_round(name, number, **values)

    def statuses(self) -> list[str]:
        """Of all rounds of the plan, one by one."""
        return [each["status"] for one in self.content["deployments"] for each in one["rounds"]]

    def _deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self.content["deployments"] if one["name"] == name)
        return found

    def _write(self) -> None:
        """
        Raises:
            RecordError: it can't be written. What it said before is still there.
        """
        # Half a surrogate, such as of a file's name that is not UTF-8, is no JSON that others could read.
        text = json.dumps(self.content, indent=1, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")
        try:
            write_whole(self._path, text + "\n")
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
    return datetime.now(UTC).isoformat(timespec="seconds")


def _nothing_yet(name: str, plan: Plan) -> dict[str, Any]:
    is_planned = name in plan.deployments
    return {
        "name": name,
        "status": NOT_RUN,
        "reason": BEFORE_ITS_TURN if is_planned else NOT_IN_THE_PLAN,
        "image": None,
        "rounds": [_round_not_begun(name, number + 1) for number in range(plan.rounds if is_planned else 0)],
    }


def _round_not_begun(name: str, number: int) -> dict[str, Any]:
    return {
        "number": number,
        "status": NOT_RUN,
        "reason": BEFORE_ITS_TURN,
        "folder": round_folder(name, number),
        "started_at": None,
        "seconds_to_healthy": None,
        "runs": [],
        "metrics_files": [],
        "limits": asdict(Limits()),
    }


def _status(rounds: list[dict[str, Any]]) -> tuple[str, str | None]:
    """A deployment's status, and of the first of its rounds that was not measured why not."""
    statuses = [one["status"] for one in rounds]
    status = next((one for one in (MEASURED, FAILED) if one in statuses), NOT_RUN)
    reasons = [
        one["reason"]
        for one in sorted(rounds, key=lambda one: one["status"] != FAILED)  # a failure says more
        if one["status"] != MEASURED
    ]
    return status, reasons[0] if reasons else None
