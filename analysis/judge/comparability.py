"""Whether two measurements may be compared: what they must have in common, and what differs, as values."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from analysis.read.results import Deployment, Results, Run
from runfiles.machines import DockerEngine, EngineElsewhere, Machine
from runfiles.records import Limits

MODEL = "model"
NONE_IS_A_VALUE = ("run time", "requests")
"""Conditions that a run may go without; of all others None says that they were not told."""
OF_EVERY_RUN = (MODEL, "inference engine", "texts")
"""Conditions that single passes share with loads."""


@dataclass(frozen=True)
class Unlike:
    """Why two measurements are not compared.

    ``differing``: names of the conditions that are not the same. ``untold``: those that are not known of all runs.
    ``elsewhere``: the engine of one of them ran on another machine.
    """

    differing: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    elsewhere: EngineElsewhere | None = None

    def __str__(self) -> str:
        if self.elsewhere is not None:
            return f"not comparable: {self.elsewhere}"
        reasons = [f"{', '.join(self.differing)} not the same"] if self.differing else []
        reasons += ["the service did not say which model answered"] if MODEL in self.untold else []
        if others := [name for name in self.untold if name != MODEL]:
            reasons.append(f"{', '.join(others)} not known of all runs")
        return f"not compared: {'; '.join(reasons)}"


def why_unlike(one: Deployment, other: Deployment, elsewhere: EngineElsewhere | None = None) -> Unlike | None:
    """What differs between two deployments' runs that must not; None where they may be compared. A deployment and
    itself: what differs between its rounds.

    ``elsewhere``: the experiment's engine, where it did not run on the machine of the host process.
    """
    if elsewhere is not None and one.is_host != other.is_host:
        return Unlike(elsewhere=elsewhere)
    both = (one,) if one is other else (one, other)
    loads = [conditions(run) for each in both for run in each.loads.values()]
    passes = [conditions(run) for each in both for run in each.single_passes.values()]
    differing, untold = [], []
    for name in loads[0]:
        values = {run[name] for run in ([*loads, *passes] if name in OF_EVERY_RUN else loads)}
        told = values if name in NONE_IS_A_VALUE else values - {None}
        if len(told) > 1:
            differing.append(name)
        elif None in values - told and (told or (name == MODEL and one is not other)):
            untold.append(name)
    return Unlike(tuple(differing), tuple(untold)) if differing or untold else None


def conditions(run: Run) -> dict[str, Hashable]:
    """What two runs must have in common for their figures to be comparable."""
    record = run.record
    engine = record.inference_engine
    computes = (engine.name, engine.device, engine.weights)
    return {
        MODEL: record.model.sha256,
        "inference engine": None if computes == (None, None, None) else computes,
        "texts": record.texts.sha256,
        "user class": record.user_class,
        "users": record.users,
        "spawn rate": record.spawn_rate,
        "run time": record.run_time_s,
        "requests": record.end_after_requests,
        "warm-up": record.warm_up_s,
        "seed": record.seed,
    }


def usable_cpus(results: Results, deployment: Deployment) -> set[float | None]:
    """How many cores a deployment could use in its rounds with a load. No limit, or one beyond the cores of its
    machine, is all of these; None: not known."""
    cores = _machine_of(results, deployment).cpu_count
    limits = [limits.cpus for limits in _limits(deployment)]
    return {min((value for value in (one, cores) if value is not None), default=None) for one in limits}


def memory_limits_bytes(results: Results, deployment: Deployment) -> set[float | None]:
    """To how much memory each replica was limited in the rounds with a load.

    None: no limit, or one beyond the memory of the machine, which is not the same to the byte after each boot.
    """
    there_is = _machine_of(results, deployment).memory_bytes
    limits = [limits.memory_bytes for limits in _limits(deployment)]
    return {None if one is None or (there_is is not None and one >= there_is) else one for one in limits}


def _limits(deployment: Deployment) -> list[Limits]:
    return [each.limits for each in deployment.rounds if each.load is not None]


def _machine_of(results: Results, deployment: Deployment) -> Machine | DockerEngine:
    """The machine that a deployment ran on."""
    engine = results.experiment.engine
    if engine is not None and results.engine_elsewhere is not None and not deployment.is_host:
        return engine
    return results.experiment.machine
