"""``python -m infra change``: change a deployment that ``infra up`` has started, as the changes of a plan do.

Only what this checkout has started is changed. The changes are made by the same code as those of a plan.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import docker

from infra.deployments.change import WHY_NOT, Change, Changeable, actions_of
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, NAME_OF_KIND, why_another_has_it, why_not
from infra.errors import DeploymentError
from infra.paths import INFRA
from runfiles.deployments import HOST, MOST_REPLICAS, title_of
from runfiles.events import KILL, PAUSE, PROCESS, RESUME, SCALE, STOP
from runfiles.lines import tidy

ACTIONS_NOW = (KILL, STOP, PAUSE, RESUME, SCALE)
"""What can be changed by hand. To replace all replicas takes the settings of the start, which nobody keeps."""


@dataclass(frozen=True)
class MadeNow:
    """A change that was made, with the names of ``CHANGES_COLUMNS``."""

    began_at_unix_s: float
    ended_at_unix_s: float
    replica: str
    detail: str


def names_for(asked: str) -> list[str]:
    """The deployments that ``asked`` may mean: a deployment's name, or what ``--replicas`` of the locustfiles takes."""
    kind, is_target, _ = asked.partition(":")
    if not is_target:
        return [asked]
    if kind == PROCESS:
        return [HOST]
    return [name for name in NAME_OF_KIND.values() if BY_NAME[name].facts.needs_engine]


def change_now(asked: str, action: str, replica: str | None, replicas: str | None, settings: Settings) -> MadeNow:
    """Change what runs. Call this inside ``alone_on_machine`` and ``alone_on_engine``.

    Args:
        asked: as in ``names_for``.
        action: one of ``ACTIONS_NOW``.
        replica: the number of a replica, from 1, or its name; None: the first.
        replicas: how many there shall be, or ``+1`` or ``-1``; only for ``SCALE``.

    Raises:
        DeploymentError: this checkout has not started it, or the change can't be made.
    """
    if replicas is not None and action != SCALE:
        raise DeploymentError(f"--replicas is for scale; {action} takes one replica, by --replica")
    if replica is not None and action == SCALE:
        raise DeploymentError("scale has no --replica; say by --replicas how many there shall be, or +1 or -1")
    name, found = _find(asked, settings)
    if action == SCALE:
        change = Change(0.0, SCALE, replicas=_scaled(found, replicas, name))
    else:
        change = Change(0.0, action, replica=_number(found.names, replica))
    began = time.time()
    try:
        made = found.change(change)
    except docker.errors.APIError as error:
        raise DeploymentError(f"the engine refused it: {tidy(str(error.explanation or error))}") from error
    return MadeNow(began, time.time(), made.replica, made.detail)


def _find(asked: str, settings: Settings) -> tuple[str, Changeable]:
    """The deployment that is meant, and what of it runs."""
    running: Mapping[str, Changeable | None] = {name: BY_NAME[name].running(settings) for name in names_for(asked)}
    for name, found in running.items():
        if found is not None and (asked == name or asked in found.targets):
            if not found.names and found.replicas is None:
                again = f"run {INFRA} down {name}, then {INFRA} up {name}"
                raise DeploymentError(f"{title_of(name)} is stopped; {again} (if the engine just restarts it, wait)")
            return name, found
    if asked not in running:
        raise DeploymentError(
            f"{asked} was not started by {INFRA} up of this checkout, or has ended; nothing else is changed"
        )
    if reason := why_another_has_it(asked):
        raise DeploymentError(reason)
    not_there = f"{title_of(asked)} does not run, as far as this checkout has started it"
    if reason := why_not(asked, settings):
        raise DeploymentError(f"{not_there}, and can't be started now: {reason}")
    raise DeploymentError(f"{not_there}; start it: {INFRA} up {asked}")


def _scaled(found: Changeable, replicas: str | None, name: str) -> int:
    if found.replicas is None or SCALE not in actions_of(BY_NAME[name].facts.kind):
        raise DeploymentError(f"{title_of(name)} can't be scaled: {WHY_NOT[SCALE]}")
    if replicas is None:
        raise DeploymentError("scale needs --replicas: how many there shall be, or +1 or -1")
    wanted = found.replicas + int(replicas) if replicas[0] in "+-" else int(replicas)
    if not 1 <= wanted <= MOST_REPLICAS:
        raise DeploymentError(f"there can be 1 to {MOST_REPLICAS} replicas, not {wanted}")
    return wanted


def _number(names: Sequence[str], replica: str | None) -> int:
    """The number of a replica among those that run, from 1."""
    if replica is None:
        return 1
    if replica in names:
        return names.index(replica) + 1
    if re.fullmatch("[0-9]{1,4}", replica) and 1 <= int(replica) <= len(names):
        return int(replica)
    there = ", ".join(f"{number} ({name})" for number, name in enumerate(names, 1)) or "none here"
    raise DeploymentError(f"no replica {replica} runs here; those that run: {there}")
