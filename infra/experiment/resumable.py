"""What a record must say for its experiment to be continued, beyond what every record must.

The file may have been cut off, edited or made by somebody else. What it says is written, measured and deleted again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from infra.deployments.table import PORTS
from infra.experiment.plan import Plan, plan_of
from runfiles.deployments import DEPLOYMENTS, listed
from runfiles.events import STATUS_MEASURED, TURNS
from runfiles.fields import why_no_name
from runfiles.files import BLANK_FOLDER, LOAD, SINGLE_PASS, round_folder
from runfiles.lines import tidy
from runfiles.records import DeploymentRecord, ExperimentRecord, Options, PlanRecord

RUNS = (SINGLE_PASS, LOAD)
MACHINES = ("machine", "engine", "host_machine")
"""Tables of which an earlier version may not have recorded all that is known today."""

LATER = ("plan.reconnect_every", "options.host_folder", "host_machine")
"""Keys that an earlier version did not write. Each is null for what that version did."""


def check_resumable(record: ExperimentRecord, content: Mapping[str, Any]) -> Options:
    """Refuse a record that can't be continued; ``content`` is the JSON that it was read from. Returns its options.

    Raises:
        ValueError: it can't be. The message names the field.
        PlanError: its plan is none.
    """
    _refuse_other_keys(content, record.to_json(), "")
    plan = plan_of(record.plan, "plan")
    _refuse_other_plan(record.plan, plan.record)
    rounds = plan.rounds or len(record.order)
    if record.order != tuple(map(tuple, plan.order(rounds))):
        raise ValueError("order is not that of its plan")
    _check_groups(record, plan)
    if record.blank is not None and record.blank.folder != BLANK_FOLDER:
        raise ValueError(f"blank.folder is {_shown(record.blank.folder)}, not {BLANK_FOLDER}")
    if record.options is None:
        raise ValueError("options is missing")
    _check_options(record.options, plan.deployments)
    names = [deployment.name for deployment in record.deployments]
    _refuse_other("the names in deployments", names, listed(plan.deployments))
    for deployment in record.deployments:
        _check_deployment(deployment, rounds if deployment.name in plan.deployments else 0)
        _check_round_groups(deployment, record.groups)
    return record.options


def _refuse_other_keys(content: Any, written: Any, place: str) -> None:
    """A key that is missing is not known to be what this version takes it for; one too many would be lost."""
    if isinstance(content, list):
        for number, (item, again) in enumerate(zip(content, written, strict=True), 1):
            _refuse_other_keys(item, again, f"{place.removesuffix('.')} number {number}: ")
    elif isinstance(content, dict):
        if lacking := [key for key in written if key not in content and f"{place}{key}" not in LATER]:
            raise ValueError(f"{place}{lacking[0]} is missing")
        if unknown := [key for key in content if key not in written]:
            raise ValueError(f"{place}{_shown(unknown[0])} is a key that this version does not know")
        for key in content:
            if key not in MACHINES:
                _refuse_other_keys(content[key], written[key], f"{place}{key}.")


def _refuse_other_plan(said: PlanRecord, understood: PlanRecord) -> None:
    """What is null in a plan, and can't be none, would be measured by a default that nobody chose."""
    for key, value in understood.to_json().items():
        if (found := said.to_json()[key]) != value:
            raise ValueError(f"plan.{key} is {_shown(found)}, which is not understood")


def _check_groups(record: ExperimentRecord, plan: Plan) -> None:
    if record.groups and plan.layout == TURNS:
        raise ValueError("groups is not empty, though the deployments are measured in turns")
    names = [name for group in record.groups for name in group]
    if unknown := [name for name in names if name not in plan.deployments]:
        raise ValueError(f"groups has {_shown(unknown[0])}, which is not in the plan")
    before: set[str] = set()
    for group in record.groups:
        reference = group[:1]  # only that may be in another group as well
        again = [name for name in group if group.count(name) > 1 or (name in before and name not in reference)]
        if again:
            raise ValueError(f"groups has {again[0]} more than once")
        before.update(group)


def _check_round_groups(deployment: DeploymentRecord, groups: Sequence[Sequence[str]]) -> None:
    mine = [number for number, group in enumerate(groups, 1) if deployment.name in group]
    for each in deployment.rounds:
        where = f"round {each.number} of {deployment.name}"
        if each.group is not None and each.group not in mine[:1]:
            raise ValueError(f"group of {where} is {each.group}, which is not its first group")
        if other := [group for group in each.reference_in if group not in mine[1:]]:
            raise ValueError(f"reference_in of {where} names {other[0]}, in which it is no reference")


def _check_options(options: Options, deployments: Sequence[str]) -> None:
    if options.image is not None and (reason := why_no_name(options.image)):
        raise ValueError(f"options.image is {_shown(options.image)}, which is {reason}")
    if options.start_timeout_s == 0:
        raise ValueError("options.start_timeout_s is 0")
    for key, kinds in (("ports", options.ports), ("reach", options.reach)):
        if unknown := [kind for kind in kinds if kind not in PORTS]:
            raise ValueError(f"options.{key} has {_shown(unknown[0])}, which is none of {', '.join(PORTS)}")
    if lacking := [name for name in deployments if DEPLOYMENTS[name].kind not in options.ports]:
        raise ValueError(f"options.ports has no port for {', '.join(lacking)}")


def _check_deployment(deployment: DeploymentRecord, rounds: int) -> None:
    name = deployment.name
    image = deployment.image
    if image is not None and None in (image.name, image.id, image.bytes):
        raise ValueError(f"image of {name} lacks its name, its ID or its size")
    numbers = [each.number for each in deployment.rounds]
    _refuse_other(f"the rounds of {name}", numbers, range(1, rounds + 1))
    for each in deployment.rounds:
        where = f"round {each.number} of {name}"
        folder = round_folder(name, each.number)
        if each.folder != folder:
            raise ValueError(f"folder of {where} is {_shown(each.folder)}, not {folder}")
        if outside := [file for file in each.metrics_files if not _is_in(folder, PurePosixPath(file))]:
            raise ValueError(f"metrics_files of {where} names {_shown(outside[0])}, which is not in {folder}")
        if each.runs != RUNS[: len(each.runs)]:
            raise ValueError(f"runs of {where} is {_shown([*each.runs])}, not {' and then '.join(RUNS)}")
        if each.status == STATUS_MEASURED and each.runs != RUNS:
            raise ValueError(f"runs of {where}, which is measured, is {_shown([*each.runs])}, not {_shown([*RUNS])}")


def _refuse_other(what: str, found: Sequence[Any], expected: Sequence[Any]) -> None:
    if list(found) != list(expected):
        shown = ", ".join(map(str, expected)) or "none"
        raise ValueError(f"{what} are {_shown(found)}, not {shown}, each once and in this order")


def _is_in(folder: str, path: PurePosixPath) -> bool:
    return str(path.parent) == folder and path.name != ".."


def _shown(value: Any) -> str:
    return tidy(ascii(value)[:200])
