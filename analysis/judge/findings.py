"""What was found, in paragraphs of which each number leads to its place in the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.judge import words
from analysis.judge.comparability import MEMORY_APART
from analysis.judge.doubts import Validity
from analysis.judge.verdicts import JUDGED, NAMES, NONE, UNPROVEN, Verdict, against_first
from analysis.measure.balance import Balance, Evenness, reopened, replicas_of
from analysis.measure.quantity import CAPACITY, FEWEST_ROUNDS, HIDDEN, PARTS_OF_TIME, QUANTITIES
from analysis.measure.rounds import MIXED, Measurement
from runfiles.machines import EngineElsewhere
from runfiles.reconnect import read_reconnect_every

RECONNECT = "--set reconnect_every=100"
"""What has users find all replicas: the option of ``make bench``."""
UNEVEN = 1.1
"""The busiest replica gave so many times an even share, or more."""


@dataclass(frozen=True)
class Number:
    """A number in a sentence, and the anchor of the place on the page that shows it."""

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
    """All findings. An invalid deployment is in none of them, and the host process is in none if the containers ran on
    another machine. Without a verdict the replicas' shares come first: they need no other deployment."""
    valid = [load for load in loads if not validity.of(load.name)]
    if elsewhere is not None:
        valid = [load for load in valid if not load.deployment.is_host] or valid
    differences = _differences(verdicts)
    shared = _by_deployment(balances, valid)
    networks = [network for rounds in shared if (network := _network(rounds)) is not None]
    networks += _two_ways_to_balance([rounds[0] for rounds in shared])
    used = _connections(valid) + _time(valid) + _cpu(valid) + _hidden(valid) + _memory(valid) + _starts(valid)
    return differences + used + networks if differences else networks + used


def _differences(verdicts: Sequence[Verdict]) -> list[Finding]:
    """The median and the p95 of each deployment against the first that it can be compared with."""
    pairs = {(verdict.subject.name, verdict.baseline.name) for verdict in against_first(verdicts).values()}
    judged = [verdict for verdict in verdicts if (verdict.subject.name, verdict.baseline.name) in pairs]
    return [_difference(verdict) for verdict in judged if verdict.kind != NONE and verdict.key in JUDGED]


def _difference(verdict: Verdict) -> Finding:
    """``docker run is slower than the host process: its median is 0.78 ms against 0.70 ms, round by round 1.11 times
    (...).``"""
    subject, baseline = words.named(verdict.subject), words.named(verdict.baseline)
    name = NAMES[verdict.key]
    anchor = f"verdict-{verdict.id}"
    both = f"{words.first_letter(subject)} is {verdict.kind} than {baseline}: its {name} is "
    if verdict.kind == UNPROVEN:
        both = f"No difference of the {name} is proven between {subject} and {baseline}. Measured: "
    parts: list[Part] = [both, _milliseconds(verdict.subject, verdict.key), " against "]
    parts += [_milliseconds(verdict.baseline, verdict.key), f", {words.ROUND_BY_ROUND} "]
    parts += [Number(f"{verdict.comparison.ratio:.2f}", anchor)]
    parts += [" times (", *_rounds_and_interval(verdict, anchor), ")."]
    parts += _why_unproven(verdict, anchor) if verdict.kind == UNPROVEN else []
    return Finding(f"finding-{verdict.id}", "Response time", tuple(parts))


def _milliseconds(load: Measurement, key: str) -> Number:
    return Number(f"{words.plain(load, key)} ms", estimate_anchor(load.name, key))


def _rounds_and_interval(verdict: Verdict, anchor: str) -> list[Part]:
    numbers = verdict.comparison
    if not numbers.has_interval:
        return [words.TWO_ROUNDS]
    interval = Number(f"{numbers.low:.2f} to {numbers.high:.2f}", anchor)
    return ["95% interval ", interval, ", ", Number(f"{numbers.rounds} rounds", anchor)]


def _why_unproven(verdict: Verdict, anchor: str) -> list[Part]:
    """What would show a difference and, if the interval seems to show one already, why that is no proof."""
    parts: list[Part] = [" ", Number(f"{verdict.detail[0].upper()}{verdict.detail[1:]}", anchor), "."]
    numbers = verdict.comparison
    if numbers.has_interval and (numbers.low > 1 or numbers.high < 1):
        side = "above" if numbers.low > 1 else "below"
        parts.append(f" The interval lies {side} a ratio of one. This is still no proof, because this page makes ")
        parts.append("several comparisons, and one of them can look different by chance.")
    return parts


def how_to_read(loads: Sequence[Measurement]) -> str:
    """What stands in the brackets of the findings without a verdict."""
    if not loads:
        return ""
    is_mixed = any(load.summary["median_ms"].missing in MIXED for load in loads)
    rounds = [load.summary["requests"].rounds for load in loads]
    if min(rounds) < FEWEST_ROUNDS:
        said = "Fewer than three rounds give no interval."
        if any(CAPACITY in load.summary for load in loads):
            said = "Fewer than three rounds give no interval. Only a capacity has one: it comes from the steps."
        said += "" if is_mixed else " Only response times have verdicts, and not from one round."
    else:
        said = "Below, brackets without a name are 95% intervals."
        said += " Only response times have verdicts." if len(loads) > 1 and not is_mixed else ""
    return f"{said} {words.HOW_ROUND_BY_ROUND}" if len(loads) > 1 and max(rounds) > 1 and not is_mixed else said


def _told(loads: Sequence[Measurement], *keys: str) -> list[Measurement]:
    return [load for load in loads if all(load.summary[key].is_measured for key in keys)]


def _listed(loads: Sequence[Measurement], key: str) -> list[Part]:
    """``A 1.0 ms (0.9 to 1.1); B 2.0 ms (1.9 to 2.1)``: an estimate of each, and its interval if one is shown."""
    quantity = QUANTITIES[key]
    parts: list[Part] = []
    for place, load in enumerate(loads):
        estimate = load.summary[key]
        anchor = estimate_anchor(load.name, key)
        parts += ["; " if place else "", f"{load.title} "]
        parts.append(Number(f"{words.number(estimate, quantity.digits)} {quantity.unit}", anchor))
        if estimate.has_interval and estimate.value >= estimate.least:
            parts += [" (", Number(words.low_to_high(estimate, quantity.digits), anchor), ")"]
        if estimate.is_part:
            parts.append(f" ({words.PART})")
    return parts


def _connections(loads: Sequence[Measurement]) -> list[Finding]:
    """Whose server closes the connections that users keep, and what follows from that."""
    parts: list[Part] = []
    deals_requests = False
    for load in loads:
        runs = load.deployment.loads.values()
        if (found := reopened(runs)) is None:
            continue
        number = Number(f"{found.answers:,} of {found.of:,}", estimate_anchor(load.name, "requests"))
        parts += ["; " if parts else "", f"{load.title} ", number]
        deals_requests |= load.deployment.is_swarm and max(map(replicas_of, runs)) > 1
    if not parts:
        return []
    is_open = any(load.deployment.is_open for load in loads)
    although = "the load generator would keep it" if is_open else "the users keep theirs"
    said = f"The server closes the connection after an answer, although {although}. Answers for which a new connection "
    parts = [f"{said}was opened: ", *parts, ". Opening it is a part of these response times. "]
    parts.append("So keep_alive measures the same here as new_connection.")
    if deals_requests:
        users = "" if is_open else ", not users"
        parts.append(f" Swarm gives each new connection to the next replica, so here it balances requests{users}.")
    return [Finding("finding-connections", "Connections", tuple(parts))]


def _time(loads: Sequence[Measurement]) -> list[Finding]:
    if told := _told(loads, *PARTS_OF_TIME):
        parts: list[Part] = ["Parts of the median response time under load."]
        for key, whose in PARTS_OF_TIME.items():
            parts += [f" {whose[0].upper()}{whose[1:]}: ", *_listed(told, key), "."]
        return [Finding("finding-time", "Where the time goes", tuple(parts))]
    told = _told(loads, "inference_ms", "queue_ms", "rest_ms")
    if not told:
        return []
    parts = ["Medians under load. Time in the model: ", *_listed(told, "inference_ms")]
    parts += [". Time waiting for the model: ", *_listed(told, "queue_ms")]
    parts += [". The rest, which is HTTP, network and client: ", *_listed(told, "rest_ms"), "."]
    return [Finding("finding-time", "Where the time goes", tuple(parts))]


def _cpu(loads: Sequence[Measurement]) -> list[Finding]:
    key = "cpu_ms_per_answer"
    told = _told(loads, key)
    if not told:
        return []
    parts = ["CPU time of the service for one answer: ", *_listed(told, key), "."]
    return [Finding("finding-cpu", "CPU", tuple(parts))]


def _hidden(loads: Sequence[Measurement]) -> list[Finding]:
    """CPU time that no replica's stats show; the load generator is no cost of a deployment."""
    keys = [key for key in HIDDEN if key != "hidden_generator_cpu_ms" and _told(loads, key)]
    if not keys:
        return []
    parts: list[Part] = ["CPU time outside the service for one answer, without that of the load generator."]
    for key in keys:
        parts += [f" {HIDDEN[key][0].upper()}{HIDDEN[key][1:]}: ", *_listed(_told(loads, key), key), "."]
    return [Finding("finding-hidden", "Hidden costs", tuple(parts))]


def _memory(loads: Sequence[Measurement]) -> list[Finding]:
    """Memory of the containers and, apart from that, of the host process: the two are counted differently."""
    key = "memory_mean_mb"
    told = _told(loads, key)
    containers, hosts = ([load for load in told if load.deployment.is_host is is_host] for is_host in (False, True))
    found = []
    if containers:
        parts = ["Mean of all containers together: ", *_listed(containers, key), "."]
        found.append(Finding("finding-memory", "Memory", tuple(parts)))
    if hosts:
        apart = f". {MEMORY_APART}" if containers else "."
        parts = ["Mean of all processes of the service: ", *_listed(hosts, key), apart]
        found.append(Finding("finding-memory-host", "Memory", tuple(parts)))
    return found


def _starts(loads: Sequence[Measurement]) -> list[Finding]:
    key = "seconds_to_healthy"
    told = _told(loads, key)
    if not told:
        return []
    parts = ["Time from the start until the service was healthy: ", *_listed(told, key), "."]
    return [Finding("finding-start", "Start", tuple(parts))]


def _by_deployment(balances: Sequence[Balance], valid: Sequence[Measurement]) -> list[list[Balance]]:
    names = {load.name for load in valid}
    by_name: dict[str, list[Balance]] = {}
    for balance in balances:
        if (balance.even is not None or balance.is_nameless) and balance.measurement.name in names:
            by_name.setdefault(balance.measurement.name, []).append(balance)
    return [*by_name.values()]


def _network(rounds: Sequence[Balance]) -> Finding | None:
    """How evenly the replicas' network bytes and answers were shared, what was expected, and why."""
    first = rounds[0]
    even = first.even
    if first.is_nameless:
        return _nameless(rounds)
    if even is None:
        return None
    anchor = f"share-{first.id}"
    parts: list[Part] = [first.measurement.title]
    parts += [", ", Number(f"round {first.number}", anchor)] if len(rounds) > 1 else []
    parts += [". ", *_shares(first, anchor), _expected(first), " "]
    largest, expected = (Number(f"{share:.1%}", anchor) for share in (even.largest, even.expected_largest))
    most = "at most " if first.is_sticky else ""
    parts += ["The busiest replica gave ", largest, f" of the answers; {most}", expected, " were expected. "]
    parts += _deal(even, anchor)
    parts += _remedy(first, even)
    if len(rounds) > 1:
        shares = {balance.id: balance.even.largest for balance in rounds if balance.even is not None}
        least, most_uneven = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        parts += [" Over all rounds the busiest replica gave ", Number(f"{shares[least]:.1%}", f"share-{least}")]
        parts += [" to ", Number(f"{shares[most_uneven]:.1%}", f"share-{most_uneven}"), "."]
    return Finding(f"finding-network-{first.measurement.name}", "Network I/O of the replicas", tuple(parts))


def _nameless(rounds: Sequence[Balance]) -> Finding:
    """What each replica got, of a service that does not say which replica answered."""
    first = rounds[0]
    anchor = f"share-{first.id}"
    parts: list[Part] = [first.measurement.title]
    parts += [", ", Number(f"round {first.number}", anchor)] if len(rounds) > 1 else []
    parts.append(
        ". The service does not say which replica answered, so the shares of the answers are not measured. The "
        "replicas' own counters tell: "
    )
    for what, shares in (
        ("of the connections", [share.connection_share for share in first.shares]),
        ("of the network bytes", [share.byte_share for share in first.shares]),
    ):
        if any(map(math.isnan, shares)):
            continue
        for place, (share, value) in enumerate(zip(first.shares, shares, strict=True)):
            parts += [", " if place else "", Number(f"{value:.1%}", f"{anchor}-{place}")]
            parts += [f" {what}"] if not place else []
            parts.append(f" ({share.title})")
        parts.append("; ")
    parts[-1] = "." if parts[-1] == "; " else "none of these were read."
    return Finding(f"finding-network-{first.measurement.name}", "Network I/O of the replicas", tuple(parts))


def _two_ways_to_balance(firsts: Sequence[Balance]) -> list[Finding]:
    """Connections that Swarm deals out beside requests that a proxy deals out, of users that keep their connections.

    Of the pairs of deployments, the first one with equally many replicas; else the first one.

    Args:
        firsts: the first round of each deployment whose answers name their replicas.
    """
    kept = [balance for balance in firsts if balance.keeps_connections]
    pairs = [(swarm, proxy) for proxy in kept for swarm in kept if proxy.deals_requests and not swarm.deals_requests]
    if not pairs:
        return []
    equal = [pair for pair in pairs if len(pair[0].shares) == len(pair[1].shares)]
    parts: list[Part] = ["Connections were kept. " if kept[0].is_open else "The users kept their connections. "]
    for balance in (equal or pairs)[0]:
        if balance.even is None:
            return []
        what = "requests" if balance.deals_requests else "connections"
        anchor = f"share-{balance.id}"
        parts += [f"{balance.measurement.title}, which distributes {what}: the busiest replica gave "]
        parts += [Number(f"{balance.even.largest:.1%}", anchor), " of the answers; "]
        parts += [Number(f"{1 / len(balance.shares):.1%}", anchor), " would be an even share. "]
    few = "over few connections" if kept[0].is_open else "of few users"
    new_ones = f", or new ones from time to time ({RECONNECT})" if any(swarm.is_sticky for swarm, _ in pairs) else ""
    parts.append(f"A proxy can share the load {few} evenly. Swarm needs many connections for that{new_ones}.")
    return [Finding("finding-balance", "Connections or requests", tuple(parts))]


def _shares(balance: Balance, anchor: str) -> list[Part]:
    """Each replica's share of bytes and answers, and Jain's index."""
    parts: list[Part] = []
    told = [share for share in balance.shares if not math.isnan(share.byte_share)]
    for place, share in enumerate(told):
        parts += [
            ", " if place else "Shares of the network bytes: ",
            Number(f"{share.byte_share:.1%}", f"{anchor}-{place}"),
        ]
        parts.append(f" ({share.title})")
    if told:
        parts.append(". ")
    for place, share in enumerate(balance.shares):
        parts += [
            ", " if place else "Shares of the answers: ",
            Number(f"{share.request_share:.1%}", f"{anchor}-{place}"),
        ]
    if balance.even is not None:
        parts += [". Jain's index of the answers: ", Number(f"{balance.even.jain:.3f}", anchor)]
        parts.append(" (one means that all replicas gave equally many). ")
    return parts


def _expected(balance: Balance) -> str:
    if balance.deals_requests:
        return (
            "The proxy gives each request to the replica with the fewest open requests, whoever sends it. So a replica "
            "that answers faster gets more of them."
        )
    if balance.keeps_connections and balance.replaced_after is not None:
        whose = "each connection was replaced by a new one" if balance.is_open else "each user opened a new connection"
        return (
            f"Swarm's ingress gives each new connection, not each request, to the next replica, and {whose} after "
            f"{balance.replaced_after.in_words}. So no replica is left out for long."
        )
    if balance.keeps_connections and balance.is_open:
        return (
            "Swarm's ingress gives each new connection, not each request, to the next replica. Connections were kept, "
            "and a request took one that was free, so a few of them may carry most requests."
        )
    if balance.keeps_connections:
        return (
            "Swarm's ingress gives each new connection, not each request, to the next replica. The users kept their "
            "connections, so each user stayed with one replica."
        )
    return "Swarm's ingress gives each new connection to the next replica, and each request had its own connection."


def _remedy(balance: Balance, even: Evenness) -> list[Part]:
    """What would have Swarm share the load evenly, where it did not as connections were kept."""
    if not balance.is_sticky or even.largest <= UNEVEN / len(balance.shares):
        return []
    if (every := balance.measurement.deployment.loads[balance.number].record.reconnect_every) is not None:
        after = read_reconnect_every(every).in_words
        return [f" No connection was used for {after}, so none was replaced; set reconnect_every to less."]
    who = "each connection is replaced" if balance.is_open else "each user opens a new connection"
    return [
        f" With {RECONNECT} {who} after 100 requests, as many real clients do. All replicas then get a share of the "
        "load, also one that is started later."
    ]


def _deal(even: Evenness, anchor: str) -> list[Part]:
    if math.isnan(even.p_value):
        return [f"There were too few {even.cards} to test whether they were dealt evenly."]
    p_value = Number(words.p_value(even.p_value), anchor)
    said = "there is no sign of an uneven deal" if even.p_value >= 0.05 else "the deal was uneven"
    return [
        f"If the {even.cards} are dealt fairly, shares at least as uneven as these come up with ",
        p_value,
        f". So {said}.",
    ]
