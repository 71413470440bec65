"""Whether two measurements may be compared: what they must have in common, and what differs."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from dataclasses import dataclass
from urllib.parse import urlsplit

from analysis.read.results import Deployment, Results
from analysis.read.runs import Run
from runfiles.machines import DockerEngine, EngineElsewhere, Machine, is_loopback, is_over_ssh
from runfiles.records import Limits, PlanRecord

MODEL = "model"
MEMORY_APART = (
    "The host process's memory is not compared with the containers' memory, because the two are counted differently. "
    "The host process counts its share of libraries that other processes use too (PSS). A container counts what its "
    "cgroup uses, without file cache that the kernel can drop."
)
"""What is said wherever the memory of both is shown."""
NONE_IS_A_VALUE = ("run time", "blocks", "requests", "rate", "arrivals", "connection", "reconnect every")
"""Circumstances that a run may lack. If any other is None, it was not recorded."""
OF_EVERY_RUN = (MODEL, "inference engine", "texts")
"""Circumstances that single passes share with loads."""


@dataclass(frozen=True)
class Unlike:
    """Why two measurements are not compared.

    ``differing``: names of the circumstances that differ. ``untold``: those that are not recorded for all runs.
    ``elsewhere``: the engine of one of them ran on another machine.
    """

    differing: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    elsewhere: EngineElsewhere | None = None

    def __str__(self) -> str:
        if self.elsewhere is not None:
            return f"not comparable: {self.elsewhere}"
        reasons = [f"they differ in {', '.join(self.differing)}"] if self.differing else []
        reasons += ["the service did not say which model answered"] if MODEL in self.untold else []
        if others := [name for name in self.untold if name != MODEL]:
            reasons.append(f"{', '.join(others)} not recorded for all runs")
        return f"not compared: {'; '.join(reasons)}"


def why_unlike(
    baseline: Deployment,
    subject: Deployment,
    elsewhere: EngineElsewhere | None = None,
    may_differ: Collection[str] = (),
) -> Unlike | None:
    """What differs between the runs of two deployments though it must not; None if they may be compared. If both are
    the same deployment: what differs between its rounds.

    ``elsewhere``: the experiment's Docker engine, if it ran on another machine than the host process. ``may_differ``:
    circumstances that are not looked at.
    """
    if elsewhere is not None and baseline.is_host != subject.is_host:
        return Unlike(elsewhere=elsewhere)
    both = (baseline,) if baseline is subject else (baseline, subject)
    loads = [circumstances(run) for deployment in both for run in deployment.loads.values()]
    passes = [circumstances(run) for deployment in both for run in deployment.single_passes.values()]
    differing, untold = [], []
    own_rates = {"rate"} if all(deployment.is_searched for deployment in both) else set()
    for name in (name for name in loads[0] if name not in {*may_differ, *own_rates}):
        values = {run[name] for run in ([*loads, *passes] if name in OF_EVERY_RUN else loads)}
        told = values if name in NONE_IS_A_VALUE else values - {None}
        if len(told) > 1:
            differing.append(name)
        elif None in values - told and (told or (name == MODEL and _should_tell_model(*both))):
            untold.append(name)
    return Unlike(tuple(differing), tuple(untold)) if differing or untold else None


def _should_tell_model(baseline: Deployment, *subject: Deployment) -> bool:
    """Whether two deployments are not compared if neither of them says which model answered."""
    return bool(subject) and baseline.tells_model


def circumstances(run: Run) -> dict[str, Hashable]:
    """What two runs must have in common to be compared. Of several rates it is the lowest: a deployment that is
    overloaded gets no higher one. The users of an open workload do not count."""
    record = run.record
    engine = record.inference_engine
    blocks = record.blocks
    computes = (engine.name, engine.device, engine.weights)
    return {
        MODEL: record.model.sha256,
        "inference engine": None if computes == (None, None, None) else computes,
        "texts": record.texts.sha256,
        "user class": record.user_class,
        "users": record.users if record.open is None else 0,
        "spawn rate": record.spawn_rate if record.open is None else 0,
        "rate": next(iter(run.rates_per_s), None),
        "arrivals": None if record.open is None else record.open.arrivals,
        "connection": None if record.open is None else record.open.connection,
        "reconnect every": record.reconnect_every,
        "run time": record.run_time_s,
        "blocks": None if blocks is None else (blocks.block_s, blocks.settle_s, blocks.planned),
        "requests": record.end_after_requests,
        "warm-up": record.warm_up_s,
        "seed": record.seed,
    }


def has_own_cpus(plan: PlanRecord) -> bool:
    """Whether load generator and services were bound to processors of their own."""
    generator, service = (_processors(said) for said in (plan.generator_cpus, plan.service_cpus))
    return bool(generator and service) and not generator & service


def _processors(said: str | None) -> set[int]:
    """The processors of a list such as ``0-1,3``; none if it is not one."""
    found: set[int] = set()
    for part in (said or "").split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            return set()
        found |= set(range(int(first), int(last or first) + 1))
    return found


def is_memory_comparable(baseline: Deployment, subject: Deployment) -> bool:
    """Whether the memory of both is counted alike (``MEMORY_APART``)."""
    return baseline.is_host == subject.is_host


def usable_cpus(results: Results, deployment: Deployment) -> set[float | None]:
    """How many cores a deployment could use in its rounds with a load: its limit, or all cores of its machine if that
    is fewer or there is no limit. None: not known."""
    cores = _machine_of(results, deployment).cpu_count
    limits = [limits.cpus for limits in _limits(deployment)]
    return {min((value for value in (limit, cores) if value is not None), default=None) for limit in limits}


def memory_limits_bytes(results: Results, deployment: Deployment) -> set[float | None]:
    """The memory limit of each replica in the rounds with a load.

    None: no limit, or one above the machine's memory, whose size changes by some bytes from boot to boot.
    """
    there_is = _machine_of(results, deployment).memory_bytes
    limits = [limits.memory_bytes for limits in _limits(deployment)]
    return {None if limit is None or (there_is is not None and limit >= there_is) else limit for limit in limits}


def is_through_tunnel(results: Results, deployment: Deployment) -> bool:
    """Whether the requests to a deployment went through an SSH tunnel: its machine is reached with ssh, and the load
    went to a port of the load generator's own machine."""
    experiment = results.experiment
    if deployment.is_host:
        is_there = experiment.host_machine is not None
    else:
        is_there = experiment.engine is not None and is_over_ssh(experiment.engine)
    if not is_there:
        return False
    hosts = {urlsplit(run.record.host or "").hostname or "" for run in deployment.loads.values()}
    return any(map(is_loopback, hosts))


def _limits(deployment: Deployment) -> list[Limits]:
    return [round_.limits for round_ in deployment.rounds if round_.load is not None]


def _machine_of(results: Results, deployment: Deployment) -> Machine | DockerEngine:
    """The machine that a deployment ran on."""
    if deployment.is_host:
        return results.host_machine
    engine = results.experiment.engine
    if engine is not None and results.engine_elsewhere is not None:
        return engine
    return results.experiment.machine
