"""Two services against each other, in words: whether the service or Docker costs more, and each quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.judge import words
from analysis.judge.findings import Finding, Number, Part
from analysis.judge.two_verdicts import JUDGED, NOT_JUDGED, Pair, Side, TwoSides
from analysis.judge.verdicts import JUDGED as TIMES
from analysis.judge.verdicts import NAMES, NONE, SLOWER, UNPROVEN, Comparison, Verdict
from analysis.measure.quantity import CAPACITY, QUANTITIES
from analysis.measure.unpaired import Unpaired
from runfiles.deployments import HOST

MEDIAN = "median_ms"
REMEDY = "Measure both services on one machine, with the same plan and the same texts."
SERVICE, DOCKER = "the choice of the service", "Docker"


@dataclass(frozen=True)
class Beside:
    """What the service costs as a host process, beside what a container costs: the ratios of the median response time.

    ``fast`` and ``slow`` are the services with the shorter and the longer median, ``ratio`` the second over the first
    with its interval. ``containers``: a container over the host process of its own experiment, with each service.
    """

    container: str
    fast: str
    slow: str
    ratio: tuple[float, float, float]
    containers: tuple[tuple[str, Comparison], ...]
    costs_more: str | None
    """``SERVICE`` or ``DOCKER``, if it is proven; else None."""


def besides(pairs: Sequence[Pair], sides: tuple[Side, Side]) -> list[Beside]:
    """For each container that both measured. It is left out if one of the three ratios has no interval that may be
    read, as in searches for the capacity."""
    host = next((pair for pair in pairs if pair.name == HOST), None)
    if host is None or MEDIAN not in host.quantities:
        return []
    service = host.quantities[MEDIAN]
    if not service.shows_ratio or not service.found.has_interval:
        return []
    found = []
    for pair in pairs:
        of_docker = [_of_docker(pair.name, side) for side in sides]
        told = [verdict for verdict in of_docker if verdict is not None]
        if pair.why_not is None and len(told) == len(sides):
            found.append(_beside(pair.title, service, told, sides))
    return found


def _of_docker(name: str, side: Side) -> Verdict | None:
    """A container against the host process of the same experiment, if there is an interval that may be read."""
    for verdict in side.verdicts:
        if (verdict.key, verdict.baseline.name, verdict.subject.name) == (MEDIAN, HOST, name):
            return verdict if verdict.shows_ratio and verdict.comparison.has_interval else None
    return None


def _beside(container: str, service: TwoSides, of_docker: Sequence[Verdict], sides: tuple[Side, Side]) -> Beside:
    low, ratio, high = service.found.low, service.found.ratio, service.found.high
    names = [side.service for side in sides]
    if ratio < 1:
        low, ratio, high = 1 / high, 1 / ratio, 1 / low
        names.reverse()
    costs_more = None
    if service.is_proven and all(verdict.comparison.high < low for verdict in of_docker):
        costs_more = SERVICE
    elif all(verdict.kind == SLOWER and verdict.comparison.low > high for verdict in of_docker):
        costs_more = DOCKER
    containers = tuple((side.service, verdict.comparison) for side, verdict in zip(sides, of_docker, strict=True))
    return Beside(container, names[0], names[1], (ratio, low, high), containers, costs_more)


def beside_in_words(beside: Beside) -> tuple[str, str]:
    """What costs more, and the figures."""
    service = f"As a host process, {beside.slow} needs {_times(*beside.ratio)} the median time of {beside.fast}."
    (first, one), (second, other) = beside.containers
    docker = (
        f"{beside.container} needs {_times(one.ratio, one.low, one.high)} that of the host process with {first}, and "
        f"{_times(other.ratio, other.low, other.high)} with {second}."
    )
    if beside.costs_more == SERVICE:
        return "The choice of the service costs more than Docker does.", f"{service} {docker}"
    if beside.costs_more == DOCKER:
        return "Docker costs more than the choice of the service does.", f"{docker} {service}"
    return f"It is not proven what costs more, {SERVICE} or {DOCKER}.", f"{service} {docker}"


def _times(ratio: float, low: float, high: float) -> str:
    return f"{ratio:.2f} times ({low:.2f} to {high:.2f})"


def two_headline(pairs: Sequence[Pair], sides: tuple[Side, Side]) -> tuple[str, ...]:
    """What was found: first one plain sentence, then the numbers of each deployment."""
    compared = [pair for pair in pairs if pair.why_not is None]
    if not compared:
        both = f"{sides[0].service} and {sides[1].service} are"
        is_valid = not any(side.validity.of(pair.name) for side in sides for pair in pairs)
        remedy = (REMEDY,) if is_valid else ()
        reasons = dict.fromkeys(pair.why_not for pair in pairs)
        if len(reasons) == 1:
            return (f"{both} {next(iter(reasons))}.", *remedy)
        return (
            f"{both} not compared in any deployment.",
            *(f"{pair.title}: {pair.why_not}." for pair in pairs),
            REMEDY,
        )
    numbers = [_numbers(pair, sides) for pair in compared]
    numbers += [f"{pair.title}: {pair.why_not}." for pair in pairs if pair.why_not is not None]
    found = besides(pairs, sides)
    first = beside_in_words(found[0]) if found else (_first(compared[0], sides),)
    return (*first, *numbers)


def _first(pair: Pair, sides: tuple[Side, Side]) -> str:
    """The capacity of one deployment, or the median if there is no host process or no container to set beside it."""
    (main, *_), _ = _told(pair)
    found = pair.quantities[main]
    first, second = (side.service for side in sides)
    where = "as a host process" if pair.name == HOST else f"with {pair.title}"
    if found.is_proven:
        return f"{second} {'' if main == CAPACITY else 'is '}{found.kind} than {first} {where}."
    if found.kind == UNPROVEN:
        return f"No difference of the {NAMES[main]} is proven between {first} and {second} {where}."
    return f"There is no verdict on {first} and {second}: {found.detail}."


def _told(pair: Pair) -> tuple[tuple[str, ...], str]:
    """The quantities that the headline tells, the main one first, and what is said if it can tell none of them."""
    if CAPACITY in pair.quantities:
        return (CAPACITY,), f"no capacity of both is known: {pair.quantities[CAPACITY].detail}"
    return TIMES, "no response time of both is known"


def _numbers(pair: Pair, sides: tuple[Side, Side]) -> str:
    """``Host process: median 4.81 ms with B against 1.00 ms with A, 4.80 times (...), slower; p95 ...``."""
    first, second = (side.service for side in sides)
    parts: list[str] = []
    keys, none = _told(pair)
    for key in keys:
        if pair.quantities[key].shows_ratio:
            unit = QUANTITIES[key].unit
            with_first, with_second = ("", "") if parts else (f" with {first}", f" {unit} with {second}")
            two = pair.quantities[key]
            before, after = (words.number(value, QUANTITIES[key].digits) for value in two.values)
            values = f"{after}{with_second} against {before} {unit}{with_first}"
            parts.append(f"{NAMES[key]} {values}, {ratio_in_words(two.found)}, {verdict_in_words(two)}")
    return f"{pair.title}: {'; '.join(parts) or none}."


def ratio_in_words(found: Unpaired) -> str:
    """``4.80 times (4.50 to 5.10)``; the bracket is the 95% interval."""
    if found.has_interval:
        return _times(found.ratio, found.low, found.high)
    return f"{found.ratio:.2f} times ({words.TWO_ROUNDS if found.rounds > 1 else 'no interval from one round'})"


def verdict_in_words(found: TwoSides) -> str:
    """The verdict, or why there is none."""
    if found.kind != NONE:
        return found.kind
    return found.detail if found.detail == NOT_JUDGED or not found.shows_ratio else f"{found.kind}: {found.detail}"


def two_findings(pairs: Sequence[Pair], sides: tuple[Side, Side]) -> list[Finding]:
    """What the service costs beside each container, and each quantity in all deployments that are compared."""
    found = []
    for number, beside in enumerate(besides(pairs, sides)):
        found.append(Finding(f"beside-{number}", "The service beside Docker", (" ".join(beside_in_words(beside)),)))
    for key in JUDGED:
        told = [pair for pair in pairs if key in pair.quantities and pair.quantities[key].shows_ratio]
        if told:
            found.append(_of_quantity(key, told, sides))
    return found


def _of_quantity(key: str, pairs: Sequence[Pair], sides: tuple[Side, Side]) -> Finding:
    quantity = QUANTITIES[key]
    objective = f" at {objective_of(sides)}" if key == CAPACITY else ""
    parts: list[Part] = [f"{sides[1].service} against {sides[0].service}{objective}. "]
    for place, pair in enumerate(pairs):
        two = pair.quantities[key]
        parts += ["; " if place else "", f"{pair.title} "]
        parts.append(Number(ratio_in_words(two.found), anchor(pair.name, key)))
        parts.append(f", {verdict_in_words(two)}")
    return Finding(f"finding-{key}", quantity.title, (*parts, "."))


def objective_of(sides: tuple[Side, Side]) -> str:
    """The objective of two searches for the capacity; empty if these are none. Capacities are compared only if both
    had the same."""
    planned = sides[0].results.experiment.plan.capacity
    return planned.slo if planned else ""


def anchor(name: str, key: str) -> str:
    """The anchor of a ratio in the page's tables."""
    return f"two-{name}-{key}"


def two_caveats(sides: tuple[Side, Side], changed: Sequence[str]) -> list[str]:
    """What to know before a ratio is used. ``changed``: what else changed from one experiment to the other."""
    first, second = sides
    found = [
        "The two services were measured one after the other. If the machine became slower or faster in between, the "
        "ratios contain that, and their intervals do not."
    ]
    models = [_models(side) for side in sides]
    if models[0] != models[1]:
        told = ", ".join(
            f"{side.service} with {words.listed([*names]) if names else 'a model that it does not tell'}"
            for side, names in zip(sides, models, strict=True)
        )
        found.append(f"The models differ: {told}. A ratio is that of the whole service, with its model.")
    elif not models[0]:
        found.append(f"Neither {first.service} nor {second.service} tells its model, so the models may differ.")
    for side, other in (sides, sides[::-1]):
        names = {load.name for load in other.loads}
        if alone := [load.title for load in side.loads if load.name not in names]:
            found.append(f"Measured with {side.service} only: {'; '.join(alone)}.")
    return found + [f"{text[0].upper()}{text[1:]}." for text in changed]


def _models(side: Side) -> dict[str, None]:
    """The models that answered, by name and the beginning of their digest."""
    models = [run.record.model for run in side.results.runs]
    return dict.fromkeys(f"{model.name or 'a model'} ({model.sha256[:8]})" for model in models if model.sha256)
