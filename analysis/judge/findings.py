"""What the estimates say, in words: each paragraph is made of estimates, and each number in it leads to its place in
the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.judge import words
from analysis.judge.doubts import Validity
from analysis.judge.verdicts import NONE, UNDECIDED, Verdict, against_first
from analysis.measure.balance import Evenness, ReplicaShare
from analysis.measure.quantity import HIDDEN, QUANTITIES
from analysis.measure.rounds import Measurement
from runfiles.machines import EngineElsewhere


@dataclass(frozen=True)
class Number:
    """A number in a sentence, and the anchor on the page of the figure that it is."""

    text: str
    anchor: str


Part = str | Number


@dataclass(frozen=True)
class Finding:
    """One short paragraph."""

    id: str
    title: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)


@dataclass(frozen=True)
class Balance:
    """How one round of a deployment with several replicas was dealt out."""

    measurement: Measurement
    number: int
    shares: Sequence[ReplicaShare]
    even: Evenness | None
    keeps_connections: bool

    @property
    def id(self) -> str:
        return f"{self.measurement.name}-{self.number}"


def estimate_anchor(name: str, key: str, run: str = "load") -> str:
    """The anchor of an estimate in the page's table: of a deployment, of the load or the single pass."""
    return f"{run}-{name}-{key}"


def findings(
    loads: Sequence[Measurement],
    verdicts: Sequence[Verdict],
    balances: Sequence[Balance],
    validity: Validity,
    elsewhere: EngineElsewhere | None = None,
) -> list[Finding]:
    """All that can be said in words. Of a deployment that is invalid nothing is said, and of the host process nothing
    beside containers that ran on another machine."""
    valid = [load for load in loads if not validity.of(load.name)]
    if elsewhere is not None:
        valid = [load for load in valid if not load.deployment.is_host] or valid
    found = _differences(verdicts) + _time(valid) + _cpu(valid) + _hidden(valid) + _memory(valid)
    networks = [_network(rounds) for rounds in _by_deployment(balances, valid)]
    return found + [network for network in networks if network is not None]


def _differences(verdicts: Sequence[Verdict]) -> list[Finding]:
    """What the median response times say of each deployment against the first that it can be compared with."""
    found = []
    for verdict in against_first(verdicts).values():
        if verdict.kind == NONE:
            continue
        numbers = verdict.comparison
        anchor = f"verdict-{verdict.id}"
        interval = f"{numbers.low:.2f} to {numbers.high:.2f}"
        parts: list[Part]
        if verdict.kind == UNDECIDED:
            both = f"{verdict.subject.title} and {verdict.baseline.title}"
            parts = [f"{both} can't be told apart by their median response times: "]
            parts += [
                "the ratio is ",
                Number(f"{numbers.ratio:.2f}", anchor),
                " (95% interval ",
                Number(interval, anchor),
            ]
            parts += [", ", Number(f"{numbers.rounds} rounds", anchor), "); "]
            parts += [Number(verdict.detail, anchor), "."]
            if numbers.low > 1 or numbers.high < 1:
                parts += [" The interval leaves out 1, which among so many comparisons one may do by chance."]
        else:
            parts = [
                f"{verdict.subject.title} is {verdict.kind} than {verdict.baseline.title}: its median response time is "
            ]
            parts += [Number(f"{numbers.ratio:.2f}", anchor), " times as long (95% interval "]
            parts += [Number(interval, anchor), ", ", Number(f"{numbers.rounds} rounds", anchor), ")."]
        found.append(Finding(f"finding-{verdict.id}", "Response time", tuple(parts)))
    return found


def _told(loads: Sequence[Measurement], *keys: str) -> list[Measurement]:
    return [load for load in loads if all(load.summary[key].is_measured for key in keys)]


def _number(load: Measurement, key: str) -> Number:
    """An estimate with its unit, as it stands in the table."""
    quantity = QUANTITIES[key]
    value = f"{load.summary[key].value:,.{quantity.digits}f}"
    part = f" ({words.PART})" if load.summary[key].is_part else ""
    return Number(f"{value} {quantity.unit}".strip() + part, estimate_anchor(load.name, key))


def _listed(loads: Sequence[Measurement], key: str) -> list[Part]:
    """``A 1 ms, B 2 ms``."""
    parts: list[Part] = []
    for place, load in enumerate(loads):
        parts += [", " if place else "", f"{load.title} ", _number(load, key)]
    return parts


def _time(loads: Sequence[Measurement]) -> list[Finding]:
    told = _told(loads, "queue_ms", "inference_ms", "rest_ms")
    if not told:
        return []
    parts: list[Part] = ["Of a request's time under load the model takes: ", *_listed(told, "inference_ms")]
    parts += ["; waiting for the model takes: ", *_listed(told, "queue_ms")]
    parts += ["; network, HTTP and ingress take the rest: ", *_listed(told, "rest_ms"), " (medians)."]
    return [Finding("finding-time", "Where the time goes", tuple(parts))]


def _cpu(loads: Sequence[Measurement]) -> list[Finding]:
    told = _told(loads, "cpu_ms_per_answer")
    if not told:
        return []
    parts = ["An answer costs the service this CPU time: ", *_listed(told, "cpu_ms_per_answer"), "."]
    return [Finding("finding-cpu", "CPU", tuple(parts))]


def _hidden(loads: Sequence[Measurement]) -> list[Finding]:
    """What no container's stats show; the load generator is no cost of a deployment."""
    parts: list[Part] = []
    for key, whose in HIDDEN.items():
        told = [] if key == "hidden_generator_cpu_ms" else _told(loads, key)
        if told:
            parts += ["; " if parts else "", f"{whose}: ", *_listed(told, key)]
    if not parts:
        return []
    return [Finding("finding-hidden", "Hidden costs", ("Beside the service, an answer costs: ", *parts, "."))]


def _memory(loads: Sequence[Measurement]) -> list[Finding]:
    told = _told(loads, "memory_mean_mb")
    if not told:
        return []
    parts = ["All replicas together hold, on average: ", *_listed(told, "memory_mean_mb"), "."]
    return [Finding("finding-memory", "Memory", tuple(parts))]


def _by_deployment(balances: Sequence[Balance], valid: Sequence[Measurement]) -> list[list[Balance]]:
    names = {load.name for load in valid}
    by_name: dict[str, list[Balance]] = {}
    for balance in balances:
        if balance.even is not None and balance.measurement.name in names:
            by_name.setdefault(balance.measurement.name, []).append(balance)
    return [*by_name.values()]


def _network(rounds: Sequence[Balance]) -> Finding | None:
    """How evenly the replicas' NET I/O came out, what was to be expected of the users that ran, and why."""
    first = rounds[0]
    even = first.even
    if even is None:
        return None
    anchor = f"share-{first.id}"
    parts: list[Part] = [f"{first.measurement.title}: "]
    if len(rounds) > 1:
        parts = [f"{first.measurement.title}: in ", Number(f"round {first.number}", anchor), " "]
    told = [share for share in first.shares if not math.isnan(share.byte_share)]
    if told:
        parts.append("the replicas' network bytes were shared ")
        for place, share in enumerate(told):
            parts += [
                ", " if place else "",
                Number(f"{share.byte_share:.1%}", f"{anchor}-{place}"),
                f" ({share.title})",
            ]
        parts.append(" and their answers ")
    else:
        parts.append("the replicas' answers were shared ")
    for place, share in enumerate(first.shares):
        parts += [", " if place else "", Number(f"{share.request_share:.1%}", f"{anchor}-{place}")]
    parts += ["; Jain's index of the answers is ", Number(f"{even.jain:.3f}", anchor), ", where all equal would be "]
    parts += [Number("1", anchor), ". "]
    largest = Number(f"{even.largest:.1%}", anchor)
    expected = Number(f"{even.expected_largest:.1%}", anchor)
    if first.keeps_connections:
        parts += [
            "The users kept their connections. Swarm's ingress deals out connections in turn and never looks into "
        ]
        parts += [
            "them, so each user stayed with the replica that its connection led to: of the busiest replica at most "
        ]
        parts += [expected, " was to be expected if users are served alike; it gave ", largest, " of the answers. "]
    else:
        parts += ["Each request had a connection of its own, and Swarm's ingress deals out connections in turn: "]
        parts += [expected, " a replica was to be expected; the busiest gave ", largest, " of the answers. "]
    parts += _deal(even, anchor)
    if len(rounds) > 1:
        busiest = sorted(
            ((balance.even.largest, balance) for balance in rounds if balance.even is not None),
            key=lambda pair: pair[0],
        )
        (low, least), (high, most) = busiest[0], busiest[-1]
        parts += [" Over all rounds the busiest replica's share went from ", Number(f"{low:.1%}", f"share-{least.id}")]
        parts += [" to ", Number(f"{high:.1%}", f"share-{most.id}"), "."]
    return Finding(f"finding-network-{first.measurement.name}", "Network I/O of the replicas", tuple(parts))


def _deal(even: Evenness, anchor: str) -> list[Part]:
    if math.isnan(even.p_value):
        return [f"Too few {even.cards} were dealt to test whether the deal was even."]
    p_value = Number(words.p_value(even.p_value), anchor)
    said = "no sign of an uneven deal" if even.p_value >= 0.05 else "the deal was uneven"
    return [f"A fair draw of as many {even.cards} comes out at least as uneven with ", p_value, f": {said}."]
