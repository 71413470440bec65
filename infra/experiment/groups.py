"""Which deployments run side by side in a round, and share its load in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from infra.deployments.confinement import RESERVED_MEMORY_BYTES
from infra.deployments.docker_engine import Engine
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME
from runfiles.deployments import DEPLOYMENTS, HOST, title_of

GIB = 1024**3


@dataclass(frozen=True)
class Memory:
    """Bytes that replicas may use: of this machine those that are free; of the engine's machine, where it is another
    one, all of it. ``engine_bytes`` None: the engine is on this machine, or there is none. 0: not known.
    ``is_host_there``: the host process runs on the engine's machine."""

    here_bytes: int
    engine_bytes: int | None = None
    is_host_there: bool = False

    def why_too_little(self, names: Sequence[str]) -> str | None:
        """Why these deployments can't run side by side. None if they can, or if it is not known."""
        containers = sum(DEPLOYMENTS[name].replicas for name in names if name != HOST)
        processes = 1 if HOST in names else 0
        if self.engine_bytes is None:
            return _why_more(containers + processes, self.here_bytes, "are free")
        if self.is_host_there:
            return _why_more(containers + processes, self.engine_bytes, "are on the engine's machine")
        return _why_more(processes, self.here_bytes, "are free") or _why_more(
            containers, self.engine_bytes, "are on the engine's machine"
        )


def _why_more(replicas: int, there_bytes: int, are: str) -> str | None:
    needed = replicas * RESERVED_MEMORY_BYTES
    if not there_bytes or needed <= there_bytes:
        return None
    return f"{replicas} replicas need {needed / GIB:.1f} GiB, {there_bytes / GIB:.1f} GiB {are}"


def memory_of(engine: Engine | None, *, is_host_there: bool = False) -> Memory:
    """The memory of this machine and of the engine's."""
    here = psutil.virtual_memory().available
    if engine is not None and (engine.is_remote or engine.elsewhere()):
        return Memory(here, engine.memory_bytes or 0, is_host_there)
    return Memory(here, 0 if is_host_there else None, is_host_there)


def grouped(
    deployments: Sequence[str], memory: Memory, begun: Sequence[Sequence[str]] = ()
) -> tuple[tuple[tuple[str, ...], ...], str | None]:
    """The groups, and why there are several (None: there is one).

    All deployments that can run side by side are in one group. Those of one kind can't, and memory may be short. The
    first deployment, the reference, is in all groups where it can be, so that deployments of different groups can be
    compared.

    Args:
        deployments: those that can run here, in the order of the plan.
        memory: what there is for them.
        begun: groups that were measured before. Each stays, and may get further deployments.
    """
    groups = [list(group) for group in begun]
    reasons: list[str] = []
    placed = {name for group in groups for name in group}
    for name in deployments:
        if name in placed:
            continue
        refused = [_why_not_beside(name, group, memory) for group in groups]
        if None in refused:
            groups[refused.index(None)].append(name)
            continue
        reasons += [reason for reason in refused if reason]
        reference = [deployments[0]] if groups and _why_not_beside(name, deployments[:1], memory) is None else []
        groups.append([*reference, name])
    return tuple(map(tuple, groups)), "; ".join(dict.fromkeys(reasons)) or None


def _why_not_beside(name: str, group: Sequence[str], memory: Memory) -> str | None:
    kind = DEPLOYMENTS[name].kind
    if twin := next((other for other in group if DEPLOYMENTS[other].kind == kind), None):
        return f"{title_of(twin)} and {title_of(name)} can't run at once: they are one service, scaled"
    return memory.why_too_little([*group, name])


def why_one_port(deployments: Sequence[str], settings: Settings) -> str | None:
    """Why deployments that run side by side can't: two kinds have the same port on one machine. None if all differ."""
    holders: dict[tuple[bool, int], str] = {}
    for name in deployments:
        facts = BY_NAME[name].facts
        is_elsewhere = facts.kind in settings.reach
        other = holders.setdefault((is_elsewhere, facts.port(settings)), name)
        if DEPLOYMENTS[other].kind != facts.kind:
            return (
                f"{facts.title} and {title_of(other)} run side by side, and both have port {facts.port(settings)}; "
                f"give one of them another (--port {facts.kind}=PORT), or measure in turns (--set layout=turns)"
            )
    return None
