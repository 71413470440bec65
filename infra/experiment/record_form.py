"""What ``experiment.json`` must hold for its experiment to be continued: keys, types, ranges, and what may be there
only once. The file may have been cut off, edited or made by somebody else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from infra.deployments.settings import MOST_START_TIMEOUT_S
from infra.deployments.table import PORTS
from infra.experiment.plan import Plan, plan_of
from infra.last_words import tidy
from runfiles.deployments import DEPLOYMENTS, listed
from runfiles.events import FAILED, MEASURED, NOT_RUN
from runfiles.files import FORM, LOAD, SINGLE_PASS, round_folder

STATUSES = (MEASURED, FAILED, NOT_RUN)
RUNS = [SINGLE_PASS, LOAD]
MOST_NAME = 300
"""Longer than any name of an image or of a machine."""

Rule = tuple[str, Callable[[Any], bool]]
"""What a value should be, in words, and whether it is."""


def check_record(content: Any) -> None:
    """
    Raises:
        ValueError: it can't be continued; the message names the field.
        PlanError: so does this one, of a field in ``plan``.
    """
    _check("it", content, _EXPERIMENT)
    _check("options", content["options"], _OPTIONS)
    lacking = [key for key in Plan.__dataclass_fields__ if key not in content["plan"]]
    if lacking:
        raise ValueError(f"plan lacks {', '.join(lacking)}")
    plan = plan_of(content["plan"], "plan")
    if content["order"] != plan.order():
        raise ValueError("order is not that of its plan")
    if lacking := [name for name in plan.deployments if DEPLOYMENTS[name].kind not in content["options"]["ports"]]:
        raise ValueError(f"options.ports has no port for {', '.join(lacking)}")
    for place, deployment in enumerate(content["deployments"]):
        _check(f"deployments[{place}]", deployment, _DEPLOYMENT)
    _refuse_other("the names in deployments", [one["name"] for one in content["deployments"]], listed(plan.deployments))
    for deployment in content["deployments"]:
        _check_rounds(deployment, plan.rounds if deployment["name"] in plan.deployments else 0)


def _check_rounds(deployment: Mapping[str, Any], rounds: int) -> None:
    name = deployment["name"]
    if deployment["image"] is not None:
        _check(f"image of {name}", deployment["image"], _IMAGE)
    for one in deployment["rounds"]:
        _check(f"a round of {name}", one, _ROUND)
    _refuse_other(f"the rounds of {name}", [one["number"] for one in deployment["rounds"]], range(1, rounds + 1))
    for one in deployment["rounds"]:
        where = f"round {one['number']} of {name}"
        _check(f"limits of {where}", one["limits"], _LIMITS)
        folder = round_folder(name, one["number"])
        if one["folder"] != folder:
            raise ValueError(f"folder of {where} is {_shown(one['folder'])}, not {folder}")
        if outside := [file for file in one["metrics_files"] if not _is_in(folder, PurePosixPath(file))]:
            raise ValueError(f"metrics_files of {where} names {_shown(outside[0])}, which is not in {folder}")
        if one["status"] == MEASURED and one["runs"] != RUNS:
            raise ValueError(f"runs of {where}, which is measured, is {_shown(one['runs'])}, not {_shown(RUNS)}")


def _check(where: str, value: Any, rules: Mapping[str, Rule]) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {_shown(value)}, not an object")  # noqa: TRY004  not a slip of the caller's
    if lacking := [key for key in rules if key not in value]:
        raise ValueError(f"{where} lacks {', '.join(lacking)}")
    for key, (expected, holds) in rules.items():
        if not holds(value[key]):
            field = key if where == "it" else f"{where}: {key}"
            raise ValueError(f"{field} is {_shown(value[key])}, not {expected}")


def _refuse_other(what: str, found: Sequence[Any], expected: Sequence[Any] | Mapping[str, Any]) -> None:
    if found != list(expected):
        shown = ", ".join(map(str, expected)) or "none"
        raise ValueError(f"{what} are {_shown(found)}, not {shown}, each once and in this order")


def _is_in(folder: str, path: PurePosixPath) -> bool:
    return str(path.parent) == folder and path.name != ".."


def _shown(value: Any) -> str:
    return tidy(ascii(value)[:200])


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MOST_NAME and value.isprintable()


def _is_deployment(value: Any) -> bool:
    return isinstance(value, str) and value in DEPLOYMENTS


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_number(least: float, most: float = 1e18) -> Callable[[Any], bool]:
    return lambda value: type(value) in (int, float) and least <= value <= most


def _is_whole(least: int, most: int = 10**18) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _or_null(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or rule(value)


def _list_of(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(rule(one) for one in value)


def _by_kind(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and set(value) <= set(PORTS) and all(map(rule, value.values()))


def _is_address(value: Any) -> bool:
    return _is_name(value) and re.fullmatch(r".+:[0-9]{1,5}", value) is not None


_EXPERIMENT: Mapping[str, Rule] = {
    "form": (f"{FORM}", lambda value: type(value) is int and value == FORM),
    "started_at": ("a time", _is_time),
    "ended_at": ("a time or null", _or_null(_is_time)),
    "resumed_at": ("a list of times", _list_of(_is_time)),
    "command": ("text", _is_text),
    "plan": ("an object", _is_object),
    "order": ("a list", lambda value: isinstance(value, list)),
    "options": ("an object", _is_object),
    "machine": ("an object or null", _or_null(_is_object)),
    "git": ("an object or null", _or_null(_is_object)),
    "versions": ("an object or null", _or_null(_is_object)),
    "environment": ("an object or null", _or_null(_is_object)),
    "engine": ("an object or null", _or_null(_is_object)),
    "model": ("an object or null", _or_null(_is_object)),
    "deployments": ("a list", lambda value: isinstance(value, list)),
}
_OPTIONS: Mapping[str, Rule] = {
    "image": ("an image's name", _is_name),
    "build": ("true or false", lambda value: isinstance(value, bool)),
    "ports": (f"a port from 1 to 65535 for each of {', '.join(PORTS)}", _by_kind(_is_whole(1, 65535))),
    "reach": (f"HOST:PORT for some of {', '.join(PORTS)}", _by_kind(_is_address)),
    "start_timeout_s": (
        f"a number of seconds up to {MOST_START_TIMEOUT_S:.0f}",
        lambda value: _is_number(0, MOST_START_TIMEOUT_S)(value) and value > 0,
    ),
}
_DEPLOYMENT: Mapping[str, Rule] = {
    "name": (
        f"one of {', '.join(DEPLOYMENTS)}",
        _is_deployment,
    ),
    "status": (f"one of {', '.join(STATUSES)}", lambda value: value in STATUSES),
    "reason": ("text or null", _or_null(_is_text)),
    "image": ("an object or null", _or_null(_is_object)),
    "rounds": ("a list", lambda value: isinstance(value, list)),
}
_IMAGE: Mapping[str, Rule] = {
    "name": ("an image's name", _is_name),
    "id": ("an image's ID", _is_name),
    "digests": ("a list of digests", _list_of(_is_text)),
    "bytes": ("a number of bytes", _is_whole(0)),
}
_ROUND: Mapping[str, Rule] = {
    "number": ("a whole number from 1", _is_whole(1)),
    "status": (f"one of {', '.join(STATUSES)}", lambda value: value in STATUSES),
    "reason": ("text or null", _or_null(_is_text)),
    "folder": ("text", _is_text),
    "started_at": ("a time or null", _or_null(_is_time)),
    "seconds_to_healthy": ("a number of seconds or null", _or_null(_is_number(0))),
    "runs": (f"a list of {' and '.join(RUNS)}", lambda value: value in ([], RUNS[:1], RUNS)),
    "metrics_files": ("a list of paths", _list_of(_is_text)),
    "limits": ("an object", _is_object),
}
_LIMITS: Mapping[str, Rule] = {
    "cpus": ("a number of cores or null", _or_null(_is_number(0))),
    "memory_bytes": ("a number of bytes or null", _or_null(_is_whole(0))),
}
