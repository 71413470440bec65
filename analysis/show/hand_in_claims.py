"""Pros and cons of each way to run the service, each with the figures of this run that speak for or against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.staircases import highest
from analysis.judge.verdicts import CARRIES_LESS, CARRIES_MORE, FASTER, MAIN, NONE, SLOWER, Verdict
from analysis.measure.quantity import QUANTITIES, Estimate
from analysis.show.hand_in import binary_size, interval, why_not_measured
from runfiles.deployments import HOST, title_of

PRO, CON, OPEN = "Pro", "Con", "Open"
NOT_MEASURED = "not measured"
NOT_TOLD = "not measured: the service does not tell"
DOCKER, COMPOSE, SWARM_1, SWARM_3 = "docker", "compose", "swarm-1", "swarm-3"
LIKE = {SLOWER: FASTER, FASTER: SLOWER, CARRIES_LESS: CARRIES_MORE, CARRIES_MORE: CARRIES_LESS}
"""A verdict read from the other side."""
SIDES = {SLOWER: CON, FASTER: PRO, CARRIES_LESS: CON, CARRIES_MORE: PRO}


@dataclass(frozen=True)
class Claim:
    """One pro or con, and this run's figures. ``side`` is Open where the run does not decide it."""

    side: str
    text: str
    figures: str


def claims(analysis: Analysis) -> dict[str, tuple[Claim, ...]]:
    """The claims on each of the four ways, by its heading."""
    run = _Figures(analysis)
    return {
        "Host process": _host(run),
        "docker run": _docker(run),
        "Docker Compose": _compose(run),
        "Swarm": _swarm(run),
    }


def _host(run: _Figures) -> tuple[Claim, ...]:
    return (
        run.time(HOST, DOCKER),
        Claim(
            PRO,
            "Nothing is between client and service: no proxy, no routing mesh.",
            run.told("hidden_proxy_cpu_ms", HOST, DOCKER),
        ),
        Claim(
            PRO, "There is no image to build and no container to start.", run.told("seconds_to_healthy", HOST, DOCKER)
        ),
        Claim(PRO, "You can use a debugger and a profiler directly.", NOT_MEASURED),
        Claim(
            CON,
            "It uses the Python and the libraries of this machine, which may differ from those of the image.",
            run.versions(HOST, DOCKER),
        ),
        Claim(CON, "It has no network interface of its own to count NET I/O at.", run.told("interface_in_mb", HOST)),
        Claim(CON, "It has the rights of its user, and no memory limit.", run.told("memory_percent", HOST)),
        Claim(CON, "Nobody starts it again after a crash.", NOT_MEASURED),
    )


def _docker(run: _Figures) -> tuple[Claim, ...]:
    return (
        run.time(DOCKER, HOST),
        Claim(
            PRO, "Python, libraries and service are in the image, so they are the same on every machine.", run.image()
        ),
        Claim(
            PRO,
            "The engine can limit what the container uses.",
            run.told("memory_limit_mb", DOCKER, show=lambda limit: f"limit {binary_size(limit.value * 1e6)}"),
        ),
        Claim(
            CON,
            "Docker's proxy copies every byte between client and container. docker stats does not show its CPU time.",
            run.told("hidden_proxy_cpu_ms", DOCKER),
        ),
        Claim(CON, "You type all options again at every start.", NOT_MEASURED),
        Claim(
            CON, "One container is one replica, and it stays down after a crash unless you add --restart.", NOT_MEASURED
        ),
    )


def _compose(run: _Figures) -> tuple[Claim, ...]:
    return (
        run.time(COMPOSE, DOCKER),
        Claim(PRO, "All options are written down once, in a file.", NOT_MEASURED),
        Claim(
            PRO,
            "It runs the same container as docker run, so you can compare the two.",
            run.told("cpu_ms_per_answer", DOCKER, COMPOSE),
        ),
        Claim(PRO, "A bind mount shows you the service's CSV file on the host.", NOT_MEASURED),
        Claim(CON, "Its published port goes through Docker's proxy too.", run.told("hidden_proxy_cpu_ms", COMPOSE)),
        Claim(CON, "It uses one machine only, and stops the old container before it starts a new one.", NOT_MEASURED),
    )


def _swarm(run: _Figures) -> tuple[Claim, ...]:
    return (
        run.time(SWARM_1, DOCKER),
        run.time(SWARM_3, SWARM_1),
        Claim(PRO, "It runs several replicas behind one port.", run.told("throughput_per_s", SWARM_1, SWARM_3)),
        Claim(PRO, "It starts a replica again that died, and can update replicas one after another.", NOT_MEASURED),
        Claim(CON, "Each replica keeps the model in its own memory.", run.told("memory_mean_mb", SWARM_1, SWARM_3)),
        Claim(
            CON,
            "It balances connections, not requests, so users that keep their connections may load it unevenly.",
            run.busiest(SWARM_3),
        ),
        Claim(
            CON,
            "The routing mesh works in the kernel. No container's statistics show that CPU time (softirq).",
            run.told("hidden_softirq_cpu_ms", DOCKER, SWARM_1),
        ),
        Claim(CON, "It needs a swarm, and IPVS in the kernel.", run.why_not(SWARM_1, SWARM_3)),
    )


class _Figures:
    """This run's figures as text. What was not measured says so, with the reason."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._loads = {load.name: load for load in analysis.loads}
        self._deployments = {deployment.name: deployment for deployment in analysis.results.deployments}

    def told(self, key: str, *names: str, show: Callable[[Estimate], str] | None = None) -> str:
        """A quantity under load of each deployment, with its unit and its interval. ``show`` formats it otherwise."""
        quantity = QUANTITIES[key]
        said = {}
        for name in names:
            load = self._loads.get(name)
            if load is None:
                said[name] = self._why_not(name)
                continue
            estimate = load.summary[key]
            text = words.why_missing(estimate)
            if estimate.is_measured:
                text = show(estimate) if show else _value(estimate, quantity.digits, quantity.unit)
            said[name] = text + (" (not valid)" if self._analysis.validity.of(name) else "")
        is_told = any(name in self._loads for name in names)
        return f"{quantity.title}. {_listed(said)}" if is_told else _listed(said)

    def time(self, subject: str, baseline: str) -> Claim:
        """Which of two has the longer median, or in a search for the capacity carries more, if that is proven;
        otherwise the claim stays open."""
        this, other = (_within_sentence(name) for name in (subject, baseline))
        absent = [name for name in (subject, baseline) if name not in self._loads]
        more = "carries more" if self._analysis.searches else "is faster"
        if absent:
            return Claim(OPEN, f"It is not known whether {this} or {other} {more}.", self.why_not(*absent))
        found = self._verdict(subject, baseline)
        if found is None and self._analysis.results.has_changes:
            text = f"There is no verdict on whether {this} or {other} is faster, because they were changed meanwhile."
            return Claim(OPEN, text, NOT_MEASURED)
        if found is None:
            text = f"There is no verdict on whether {this} or {other} is faster, because several rates were measured."
            return Claim(OPEN, text, self._highest_rates(subject, baseline))
        told = words.ratio(found).removesuffix(f" ({words.TWO_ROUNDS})")
        ratio = f"ratio {words.ROUND_BY_ROUND} {told}, " if told else ""
        figures = f"{self.told(found.key, subject, baseline)}; {words.pair(found)}: {ratio}{words.verdict(found)}"
        kind = found.kind if found.subject.name == subject else LIKE.get(found.kind, found.kind)
        if kind in SIDES:
            verb = "" if self._analysis.searches else "is "
            return Claim(SIDES[kind], f"{words.first_letter(this)} {verb}{kind} than {other}.", figures)
        if kind == NONE:
            return Claim(OPEN, f"There is no verdict on whether {this} or {other} {more}.", figures)
        return Claim(OPEN, f"No difference is proven between {this} and {other}.", figures)

    def versions(self, *names: str) -> str:
        """The version of Python in each deployment, as the service told it."""
        said = {}
        for name in names:
            load = self._loads.get(name)
            runs = load.deployment.loads.values() if load else ()
            told = dict.fromkeys(str(run.record.service_versions.get("python", "")) for run in runs)
            versions = " and ".join(filter(None, told))
            said[name] = f"Python {versions}" if versions else NOT_TOLD if load else self._why_not(name)
        return _listed(said)

    def image(self) -> str:
        """The names and sizes of the images."""
        found = {deployment.image.id: deployment.image for deployment in self._deployments.values() if deployment.image}
        parts = [
            (image.name or "an image without a name") + (f", {image.bytes / 1e6:,.0f} MB" if image.bytes else "")
            for image in found.values()
        ]
        return "; ".join(parts) or NOT_MEASURED

    def busiest(self, name: str) -> str:
        """The share of the replica that gave most answers, in each round."""
        told = [
            balance
            for balance in self._analysis.balances
            if balance.measurement.name == name and balance.even is not None
        ]
        if not told and self._analysis.results.has_changes:
            return NOT_MEASURED
        if not told:
            return NOT_TOLD if name in self._loads else self.why_not(name)
        shares = [balance.even.largest for balance in told if balance.even is not None]
        low, high = min(shares), max(shares)
        said = f"{low:.1%}" if len(shares) == 1 else f"{low:.1%} to {high:.1%} (in {len(shares)} rounds)"
        doubt = " (not valid)" if self._analysis.validity.of(name) else ""
        return f"{title_of(name)}: the busiest replica gave {said} of the answers{doubt}"

    def why_not(self, *names: str) -> str:
        """Why deployments were not measured; of those that were, nothing."""
        return _listed({name: self._why_not(name) for name in names if name not in self._loads}) or NOT_MEASURED

    def _why_not(self, name: str) -> str:
        deployment = self._deployments.get(name)
        return why_not_measured(deployment) if deployment else NOT_MEASURED

    def _highest_rates(self, *names: str) -> str:
        """The highest rate that each deployment answered."""
        found = {staircase.name: staircase for staircase in self._analysis.staircases}
        return f"Highest rate that was answered. {_listed({name: highest(found[name]) for name in names})}"

    def _verdict(self, first: str, second: str) -> Verdict | None:
        """The verdict on the medians or the capacities of two deployments, whichever of them is the subject; None if
        several rates were measured."""
        pairs = (verdict for verdict in self._analysis.verdicts if verdict.key in MAIN)
        return next(
            (found for found in pairs if {found.subject.name, found.baseline.name} == {first, second}),
            None,
        )


def _within_sentence(name: str) -> str:
    return "the host process" if name == HOST else title_of(name)


def _listed(said: Mapping[str, str]) -> str:
    """``A: 1 ms; B and C: not measured``: deployments of which the same is said are named together."""
    together: dict[str, list[str]] = {}
    for name, text in said.items():
        together.setdefault(text, []).append(title_of(name))
    return "; ".join(f"{words.listed(titles)}: {text}" for text, titles in together.items())


def _value(estimate: Estimate, digits: int, unit: str) -> str:
    bounds = interval(estimate, digits)
    part = f", {words.PART}" if estimate.is_part else ""
    return f"{words.number(estimate, digits)} {unit}".rstrip() + (f" ({bounds})" if bounds else "") + part
