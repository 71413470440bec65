"""The user's own Compose file and stack file, as the service file names them: what is wrong with them is found before
anything is started, also where Compose or Swarm can't run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from infra.deployments import compose, stack
from infra.deployments.docker_engine import why_docker_fails
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME
from infra.errors import DeploymentError
from runfiles.deployments import COMPOSE_PROXY, HOST, SWARM
from servicefile.service_file import SERVICE
from servicefile.toml import NotValid

MEMORY, CPUS = "memory", "cpus"
COMPOSE = compose.PROJECT.kind


@dataclass(frozen=True)
class _File:
    """A file of the user's: the kinds of deployments that it is for, the table of the service file that names it, the
    service in it that answers, and that one's limits (bytes, cores; None: no limit) with how they are written there."""

    path: Path
    kinds: tuple[str, ...]
    table: str
    service: str
    limits: Mapping[str, float | None]
    written: Mapping[str, str]


def why_not_valid(names: Sequence[str], settings: Settings) -> list[str]:
    """Why an experiment with these deployments will not be valid: a file of the user's sets other limits than the other
    deployments have. One sentence each, with the remedy. Without a docker command nothing is known. The files of
    Fourfold's own service are not looked at.

    Raises:
        NotValid: such a file can't be used, or lacks the service that answers.
    """
    ports = {BY_NAME[name].facts.kind: BY_NAME[name].facts.port(settings) for name in names}
    if settings.service.path == SERVICE or settings.image is None or shutil.which("docker") is None:
        return []
    try:
        files = [*_compose_file(ports, settings), *_stack_file(ports, settings)]
    except DeploymentError as error:
        raise NotValid(str(error)) from error
    found = (_why_other_limit(what, file, files, ports, settings) for file in files for what in (MEMORY, CPUS))
    return [reason for reason in found if reason]


def _compose_file(ports: Mapping[str, int], settings: Settings) -> Iterator[_File]:
    """
    Raises:
        DeploymentError: the file can't be resolved, or lacks the service that answers.
    """
    said = settings.service.compose
    kinds = tuple(kind for kind in (COMPOSE, COMPOSE_PROXY) if kind in ports)
    if said is None or not kinds or why_docker_fails("compose", "version"):
        return
    with TemporaryDirectory(prefix="fourfold-") as metrics_folder:
        model = compose.model_of(compose.PROJECT, settings, ports[kinds[0]], Path(metrics_folder))
    answering = model["services"][said.service]
    limits = _limits_in(answering, memory=answering.get("mem_limit"), cpus=answering.get("cpus"))
    written = {MEMORY: "mem_limit: ${MEM} among the keys", CPUS: "cpus: ${CPUS} among the keys"}
    yield _File(said.file, kinds, "compose", said.service, limits, written)


def _stack_file(ports: Mapping[str, int], settings: Settings) -> Iterator[_File]:
    """
    Raises:
        DeploymentError: as ``stack.model_of``.
    """
    said = settings.service.stack
    if said is None or SWARM not in ports or why_docker_fails("stack", "config", "--help"):
        return
    model = stack.model_of(said, settings, 1, ports[SWARM])
    limits = _limits_in(model["services"][said.service])
    written = {
        MEMORY: "resources: {limits: {memory: $MEM}} below deploy",
        CPUS: 'resources: {limits: {cpus: "$CPUS"}} below deploy',
    }
    yield _File(said.file, (SWARM,), "stack", said.service, limits, written)


def _limits_in(service: Any, memory: Any = None, cpus: Any = None) -> dict[str, float | None]:
    """The limits of a service: those below ``deploy``, or the older ones. Docker writes numbers also as texts."""
    said = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    return {
        MEMORY: float(said.get(MEMORY) or memory or 0) or None,
        CPUS: _below_all(float(said.get(CPUS) or cpus or 0)),
    }


def _below_all(cpus: float | None) -> float | None:
    """A limit of cores; None if it allows all that the machine has, as no limit (0) does."""
    return cpus if cpus and cpus < (os.cpu_count() or 0) else None


def _why_other_limit(
    what: str, file: _File, files: Sequence[_File], kinds: Mapping[str, int], settings: Settings
) -> str | None:
    """Why the limit of a file's service makes an experiment with these kinds of deployments invalid, or None."""
    wanted = settings.memory_bytes if what == MEMORY else _below_all(settings.cpus)
    has = file.limits[what]
    # Docker limits no host process. Its memory is not compared, but its cores are.
    everybody = {kind: None if kind == HOST else wanted for kind in kinds if kind != HOST or what == CPUS}
    everybody |= {kind: each.limits[what] for each in files for kind in each.kinds}
    if has == wanted or (has is None and len(set(everybody.values())) == 1):
        return None
    others, variable, value = (
        ("the other containers", "MEM", "memory_bytes") if what == MEMORY else ("the other deployments", "CPUS", "cpus")
    )
    return (
        f"{file.service} in {file.path.name} has {_in_words(what, has)}, {others} have {_in_words(what, wanted)}: "
        f"an experiment will not be valid; write {file.written[what]} of {file.service} in {file.path.name}, and "
        f'{variable} = "${value}" below [{file.table}.environment] in {settings.service.path.name}'
    )


def _in_words(what: str, limit: float | None) -> str:
    if limit is None:
        return f"no {'memory' if what == MEMORY else 'CPU'} limit"
    return f"a memory limit of {limit / 1e6:,.0f} MB" if what == MEMORY else f"a limit of {limit:g} CPUs"
