"""Whether only the deployment differs between the deployments of an experiment, and how many rounds compare them."""

from __future__ import annotations

import math

from analysis.judge.advice import command_with
from analysis.judge.comparability import (
    MODEL,
    Unlike,
    has_own_cpus,
    is_through_tunnel,
    memory_limits_bytes,
    usable_cpus,
    why_unlike,
)
from analysis.judge.doubts import Doubt
from analysis.measure.quantity import FEWEST_ROUNDS
from analysis.read.results import Deployment, Results
from analysis.read.runs import Run
from runfiles.machines import DockerEngine, can_be_told_apart

FEW_ROUNDS = 5


def comparison_doubts(results: Results) -> list[Doubt]:
    """What differs between the deployments besides the deployment, and what all figures depend on."""
    measured = [deployment for deployment in results.deployments if deployment.loads]
    hosts, containers = (
        [deployment for deployment in measured if deployment.is_host is is_host] for is_host in (True, False)
    )
    found = _of_records(results, containers)
    groups = [measured]
    if results.host_apart is not None and hosts and containers:
        text = f"Host process and containers ran on two machines: {results.host_apart}. They are not compared."
        found.append(Doubt(text))
        groups = [hosts, containers]
    for group in groups:
        found += _of_tunnel(results, group)
    for deployment in measured:
        found += _of_unlike(deployment, deployment)
    for group in groups:
        for subject in group[1:]:
            found += _of_unlike(group[0], subject)
        found += _of_limits(results, group) + _of_versions(group)
    found += _of_python(hosts, containers)
    return found + _of_memory(results, containers) + _of_images(measured) + _of_model_and_machine(results, measured)


def _of_images(measured: list[Deployment]) -> list[Doubt]:
    """Whether all containers ran the same image."""
    with_image = [deployment for deployment in measured if deployment.image]
    images = {deployment.image.id for deployment in with_image if deployment.image and deployment.image.id}
    if len(images) <= 1:
        return []
    text = "The containers ran different images, so a difference may come from the image; measure again with one"
    return [Doubt(text, "image", tuple(deployment.name for deployment in with_image))]


def _of_model_and_machine(results: Results, measured: list[Deployment]) -> list[Doubt]:
    """What readers of absolute figures have to know of the model and the machine."""
    found = []
    if any(_model_source(run) == "bundled" for run in results.runs):
        text = (
            "A small bundled model answered, not DistilBERT. It needs much less time for an answer, so the ratios "
            "between deployments are larger than with DistilBERT. Look at the milliseconds rather than at the ratios."
        )
        found.append(Doubt(text))
    is_told = any(run.record.model.sha256 for run in results.runs)
    if not is_told and any(not deployment.tells_model for deployment in measured):
        text = "The service does not say which model answers. Fourfold assumes that all deployments have the same one."
        found.append(Doubt(text))
    shares = not has_own_cpus(results.experiment.plan)
    if shares and any(run.is_local for deployment in measured for run in deployment.loads.values()):
        text = "Load generator and service share this machine's processors, so they take CPU time from each other."
        found.append(Doubt(text))
    return found


def _of_records(results: Results, containers: list[Deployment]) -> list[Doubt]:
    """What the record must say to tell whether host process and containers ran on one machine, and does not."""
    machine, engine = results.experiment.machine, results.experiment.engine or DockerEngine()
    found = []
    if machine.cpu_count is None:
        found.append(Doubt("The record does not say how many CPUs the machine has."))
    if containers and not can_be_told_apart(machine, engine):
        text = "The record does not tell whether the Docker engine ran on this machine: kernel and CPUs are missing."
        found.append(Doubt(text))
    return found


def _of_unlike(baseline: Deployment, subject: Deployment) -> list[Doubt]:
    unlike = why_unlike(baseline, subject)
    if unlike is None:
        return []
    model = tuple(name for name in unlike.differing if name == MODEL)
    others = Unlike(
        tuple(name for name in unlike.differing if name != MODEL),
        tuple(name for name in unlike.untold if name != MODEL),
    )
    parts = {"circumstances": others}
    parts |= {"model": Unlike(model)} if model else {}
    parts |= {"model not told": Unlike(untold=(MODEL,))} if MODEL in unlike.untold else {}
    names = (subject.name, baseline.name)
    who = f"{subject.title}, its own runs" if subject is baseline else f"{subject.title} against {baseline.title}"
    return [Doubt(f"{who}: {part}", kind, names) for kind, part in parts.items() if part != Unlike()]


def _of_tunnel(results: Results, group: list[Deployment]) -> list[Doubt]:
    """Whether requests went through an SSH tunnel, and all of those that are compared did."""
    passed = [deployment for deployment in group if is_through_tunnel(results, deployment)]
    if not passed:
        return []
    who = ", ".join(deployment.title for deployment in passed)
    text = (
        f"All requests to {who} went through an SSH tunnel to the engine's machine. It adds to each response time, and "
        "its CPU time is in no figure."
    )
    if len(passed) == len(group):
        return [Doubt(f"{text} So ratios are closer to 1 than those of the deployments alone.")]
    others = ", ".join(deployment.title for deployment in group if deployment not in passed)
    names = tuple(deployment.name for deployment in group)
    return [Doubt(f"{text} Those to {others} did not.", "circumstances", names)]


def _of_limits(results: Results, measured: list[Deployment]) -> list[Doubt]:
    """Whether all could use as many cores. No limit, or one above the machine's cores, is all its cores."""
    cores = {deployment.name: usable_cpus(results, deployment) for deployment in measured}
    if len(set().union(*cores.values())) <= 1:
        return []
    said = ", ".join(
        f"{deployment.title} {' and '.join(sorted(_cpus(limit) for limit in cores[deployment.name]))}"
        for deployment in measured
    )
    text = f"The deployments could use different numbers of cores: {said}. A difference may come from that."
    return [Doubt(text, "cpu limit", tuple(cores))]


def _of_memory(results: Results, containers: list[Deployment]) -> list[Doubt]:
    """Whether all containers had the same memory limit. The host process has none."""
    limits = {deployment.name: memory_limits_bytes(results, deployment) for deployment in containers}
    if len(set().union(*limits.values())) <= 1:
        return []
    said = ", ".join(f"{deployment.title} {_megabytes(limits[deployment.name])}" for deployment in containers)
    return [Doubt(f"The containers had different memory limits: {said}.", "circumstances", tuple(limits))]


def _megabytes(limits: set[float | None]) -> str:
    return " and ".join(sorted("without a limit" if limit is None else f"{limit / 1e6:,.0f} MB" for limit in limits))


def _cpus(limit: float | None) -> str:
    return "without a limit" if limit is None else f"{limit:g}"


def _of_versions(measured: list[Deployment]) -> list[Doubt]:
    found = []
    told = {deployment.title: _versions(deployment) for deployment in measured}
    for name in sorted({name for versions in told.values() for name in versions}):
        ran = {title: versions.get(name, "none") for title, versions in told.items()}
        if len(set(ran.values())) > 1:
            each = ", ".join(f"{title} {version}" for title, version in ran.items())
            text = f"The deployments ran different versions of {name}: {each}. A difference may come from that."
            found.append(Doubt(text))
    return found


def _of_python(hosts: list[Deployment], containers: list[Deployment]) -> list[Doubt]:
    """Whether host process and containers ran on one Python. Of a service that tells its versions ``_of_versions`` asks
    that."""
    python = next((host.python for host in hosts if host.python and not _versions(host)), None)
    if python is None or not containers:
        return []
    theirs = sorted({each.image.python for each in containers if each.image and each.image.python})
    if python.is_fourfolds:
        told = f" (Python {' and '.join(theirs)})" if theirs else ""
        text = (
            f"The host process ran on Fourfold's own Python {python.version} and its libraries; the containers bring "
            f"their own{told}. A difference may come from that. To use others, set requirements or python in the "
            "service file."
        )
        return [Doubt(text)]
    if not theirs or theirs == [python.version]:
        return []
    text = f"The host process ran on Python {python.version}, the containers on Python {' and '.join(theirs)}."
    return [Doubt(f"{text} A difference may come from that.")]


def round_doubts(results: Results) -> list[Doubt]:
    """What so few rounds do not show."""
    rounds = {len(deployment.loads) for deployment in results.deployments if deployment.loads}
    if not rounds:
        return []
    command = command_with(results.experiment.command, rounds=FEW_ROUNDS, budget_minutes=_budget(results))
    if max(rounds) == 1:
        no = "no verdict" if results.is_search else "no interval and no verdict"
        text = (
            f"Each deployment was measured in one round, so there is {no}. Two starts of the same deployment differ "
            "too, and one round does not show by how much. "
            f"Measure five: {command}."
        )
        return [Doubt(text)]
    found = []
    if len(rounds) > 1:
        text = f"The deployments were measured in different numbers of rounds: {min(rounds)} to {max(rounds)}."
        found.append(Doubt(text))
    if min(rounds) < FEWEST_ROUNDS:
        text = (
            "From two rounds only a very clear difference gets a verdict, and no interval is shown: it would be wide."
        )
        text = "One round gives no interval." if min(rounds) == 1 else text
        found.append(Doubt(f"{text} Measure at least three, better five: {command}."))
    elif min(rounds) < FEW_ROUNDS:
        text = f"Intervals from {min(rounds)} rounds are wide. {FEW_ROUNDS} rounds or more make them narrower: "
        found.append(Doubt(f"{text}{command}."))
    return found


def _budget(results: Results) -> int | None:
    """The minutes that ``FEW_ROUNDS`` searches for the capacity need, if each is as long as those of the plan; None for
    other loads, whose rounds have a length of their own."""
    plan = results.experiment.plan
    if not results.is_search or plan.budget_minutes is None or not plan.rounds:
        return None
    return math.ceil(plan.budget_minutes * FEW_ROUNDS / plan.rounds)


def _versions(deployment: Deployment) -> dict[str, str]:
    """The versions of Python and libraries that the service reported in its rounds."""
    found: dict[str, dict[str, None]] = {}
    for run in deployment.loads.values():
        for name, version in run.record.service_versions.items():
            found.setdefault(name, {})[str(version)] = None
    return {name: " and ".join(versions) for name, versions in found.items()}


def _model_source(run: Run) -> str | None:
    return run.record.model.source
