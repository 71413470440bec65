"""What was found, in words: one headline, and paragraphs of which each number leads to its place in the tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.judge import words
from analysis.judge.comparability import MEMORY_APART
from analysis.judge.doubts import Validity
from analysis.judge.verdicts import FASTER, NONE, SLOWER, UNPROVEN, Verdict, against_first
from analysis.measure.balance import Evenness, ReplicaShare
from analysis.measure.quantity import FEWEST_ROUNDS, HIDDEN, QUANTITIES
from analysis.measure.rounds import Measurement
from runfiles.deployments import title_of
from runfiles.machines import EngineElsewhere


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


@dataclass(frozen=True)
class Balance:
    """How the load of one round was shared by the replicas of a deployment."""

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


def headline(loads: Sequence[Measurement], verdicts: Sequence[Verdict], validity: Validity) -> str:
    """What was found, in a sentence or two. Page, Markdown and terminal begin with it."""
    if not validity.is_valid:
        return _not_valid(validity)
    if not loads:
        return "Nothing was measured: no deployment has a load that can be read."
    medians = [*against_first(verdicts).values()]
    if not medians:
        return _alone(loads[0])
    tails = {(tail.subject.name, tail.baseline.name): tail for tail in verdicts if tail.key == "p95_ms"}
    proven: list[str] = []
    unproven, refused = [], []
    for median in medians:
        tail = tails[median.subject.name, median.baseline.name]
        if median.kind == NONE:
            refused.append(median)
        elif median.kind == UNPROVEN and tail.kind not in (SLOWER, FASTER):
            unproven.append(median)
        else:
            proven.append(_proven(tail if median.kind == UNPROVEN else median))
    if unproven and not proven:  # against the first deployment; two others may differ
        proven = [_proven(verdict) for verdict in verdicts if verdict.kind in (SLOWER, FASTER)][:1]
    sentences = [*proven]
    if unproven:
        sentences.append(_unproven(unproven, is_other_proven=bool(proven)))
    if refused:
        sentences.append(_refused(refused[0], is_other_judged=bool(sentences)))
    return " ".join(sentences)


def _not_valid(validity: Validity) -> str:
    """Each kind of reason once, with the deployments that it concerns."""
    names: dict[str, dict[str, None]] = {}
    for doubt in validity.invalid:
        titles = map(title_of, doubt.deployments)
        names.setdefault(doubt.title, {}).update(dict.fromkeys(titles))
    reasons = [f"{title} ({' and '.join(concerned)})" if concerned else title for title, concerned in names.items()]
    return f"Not valid: {'; '.join(reasons)}."


def _alone(load: Measurement) -> str:
    median = load.summary["median_ms"]
    digits = QUANTITIES["median_ms"].digits
    interval = f" (95% interval {words.low_to_high(median, digits)})" if median.has_interval else ""
    said = f": its median response time is {words.number(median, digits)} ms{interval}" if median.is_measured else ""
    return f"Only {_named(load)} was measured, so there is nothing to compare{said}."


def _proven(verdict: Verdict) -> str:
    """``docker run is slower than the host process: median 1.08 times (95% interval 1.05 to 1.11).``"""
    both = f"{_first_letter(_named(verdict.subject))} is {verdict.kind} than {_named(verdict.baseline)}"
    found = verdict.comparison
    interval = f"95% interval {found.low:.2f} to {found.high:.2f}" if found.has_interval else words.TWO_ROUNDS
    if verdict.key == "median_ms":
        return f"{both}: median {found.ratio:.2f} times ({interval})."
    return f"{both} at p95: {found.ratio:.2f} times ({interval}). No difference of their medians is proven."


def _unproven(unproven: Sequence[Verdict], is_other_proven: bool) -> str:
    """That some deployments do not differ provably from the first and, if nothing else is proven, why."""
    if is_other_proven:
        subjects = " and ".join(_named(verdict.subject) for verdict in unproven)
        return f"No difference from {_named(unproven[0].baseline)} is proven for {subjects}."
    noisiest = max(unproven, key=lambda verdict: verdict.comparison.spread)
    too_few = noisiest.comparison.rounds < FEWEST_ROUNDS
    why = "two rounds are too few for the noise of this machine" if too_few else noisiest.detail
    return f"No difference is proven: {why}."


def _refused(verdict: Verdict, is_other_judged: bool) -> str:
    """Why two deployments are not compared."""
    both = f"{_first_letter(_named(verdict.subject))} and {_named(verdict.baseline)} are"
    if verdict.unlike is not None:
        return f"{both} {verdict.detail}."
    return (
        f"{both} not compared: {verdict.detail}." if is_other_judged else f"No difference is proven: {verdict.detail}."
    )


def _named(load: Measurement) -> str:
    """A deployment within a sentence."""
    return "the host process" if load.deployment.is_host else load.title


def _first_letter(text: str) -> str:
    """The beginning of a sentence; ``docker run`` is a command and keeps its small letter."""
    return f"The {text.removeprefix('the ')}" if text.startswith("the ") else text


def findings(
    loads: Sequence[Measurement],
    verdicts: Sequence[Verdict],
    balances: Sequence[Balance],
    validity: Validity,
    elsewhere: EngineElsewhere | None = None,
) -> list[Finding]:
    """All findings. An invalid deployment is in none of them, and the host process is in none if the containers ran on
    another machine."""
    valid = [load for load in loads if not validity.of(load.name)]
    if elsewhere is not None:
        valid = [load for load in valid if not load.deployment.is_host] or valid
    found = _differences(verdicts) + _time(valid) + _cpu(valid) + _hidden(valid) + _memory(valid)
    networks = [_network(rounds) for rounds in _by_deployment(balances, valid)]
    return found + [network for network in networks if network is not None]


def _differences(verdicts: Sequence[Verdict]) -> list[Finding]:
    """The median response time of each deployment against the first that it can be compared with."""
    found = []
    for verdict in against_first(verdicts).values():
        if verdict.kind == NONE:
            continue
        subject, baseline = verdict.subject.title, verdict.baseline.title
        numbers = verdict.comparison
        anchor = f"verdict-{verdict.id}"
        parts: list[Part] = [f"{subject} is {verdict.kind} than {baseline}: its median response time is "]
        if verdict.kind == UNPROVEN:
            parts = [
                f"No difference between {subject} and {baseline} is proven. The median response time of {subject} is "
            ]
        parts += [Number(f"{numbers.ratio:.2f}", anchor), " times as long ("]
        if numbers.has_interval:
            interval = Number(f"{numbers.low:.2f} to {numbers.high:.2f}", anchor)
            parts += ["95% interval ", interval, ", ", Number(f"{numbers.rounds} rounds", anchor), ")."]
        else:
            parts += [f"{words.TWO_ROUNDS})."]
        if verdict.kind == UNPROVEN:
            parts += [" ", Number(f"{verdict.detail[0].upper()}{verdict.detail[1:]}", anchor), "."]
            if numbers.has_interval and (numbers.low > 1 or numbers.high < 1):
                parts += [" This interval does not include a ratio of one, but that is no proof: "]
                parts += ["this page makes several comparisons, and one of several intervals may miss by chance."]
        found.append(Finding(f"finding-{verdict.id}", "Response time", tuple(parts)))
    return found


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
        if estimate.has_interval:
            parts += [" (", Number(words.low_to_high(estimate, quantity.digits), anchor), ")"]
        if estimate.is_part:
            parts.append(f" ({words.PART})")
    return parts


def _how_to_read(loads: Sequence[Measurement], *keys: str) -> str:
    """What stands behind a list of estimates, on which there is no verdict."""
    if all(load.summary[key].has_interval for load in loads for key in keys if load.summary[key].is_measured):
        return " In brackets: the 95% interval. Fourfold gives no verdict on these numbers."
    return " So few rounds give no interval: these numbers are not compared."


def _time(loads: Sequence[Measurement]) -> list[Finding]:
    keys = ("inference_ms", "queue_ms", "rest_ms")
    told = _told(loads, *keys)
    if not told:
        return []
    parts: list[Part] = ["Medians under load. Time in the model: ", *_listed(told, "inference_ms")]
    parts += [". Time waiting for the model: ", *_listed(told, "queue_ms")]
    parts += [". Time in network, HTTP and ingress (the rest): ", *_listed(told, "rest_ms"), "."]
    parts.append(_how_to_read(told, *keys))
    return [Finding("finding-time", "Where the time goes", tuple(parts))]


def _cpu(loads: Sequence[Measurement]) -> list[Finding]:
    key = "cpu_ms_per_answer"
    told = _told(loads, key)
    if not told:
        return []
    parts = ["CPU time of the service for one answer: ", *_listed(told, key), ".", _how_to_read(told, key)]
    return [Finding("finding-cpu", "CPU", tuple(parts))]


def _hidden(loads: Sequence[Measurement]) -> list[Finding]:
    """CPU time that no container's stats show; the load generator is no cost of a deployment."""
    keys = [key for key in HIDDEN if key != "hidden_generator_cpu_ms" and _told(loads, key)]
    if not keys:
        return []
    parts: list[Part] = ["CPU time outside the service for one answer."]
    for key in keys:
        parts += [f" {HIDDEN[key][0].upper()}{HIDDEN[key][1:]}: ", *_listed(_told(loads, key), key), "."]
    parts.append(_how_to_read(loads, *keys))
    return [Finding("finding-hidden", "Hidden costs", tuple(parts))]


def _memory(loads: Sequence[Measurement]) -> list[Finding]:
    """Memory of the containers and, apart from that, of the host process: the two are counted differently."""
    key = "memory_mean_mb"
    told = _told(loads, key)
    containers, hosts = ([load for load in told if load.deployment.is_host is is_host] for is_host in (False, True))
    found = []
    if containers:
        parts = ["Mean of all containers together: ", *_listed(containers, key), ".", _how_to_read(containers, key)]
        found.append(Finding("finding-memory", "Memory", tuple(parts)))
    if hosts:
        apart = f". {MEMORY_APART}" if containers else "."
        parts = ["Mean of all processes of the service: ", *_listed(hosts, key), apart]
        found.append(Finding("finding-memory-host", "Memory", tuple(parts)))
    return found


def _by_deployment(balances: Sequence[Balance], valid: Sequence[Measurement]) -> list[list[Balance]]:
    names = {load.name for load in valid}
    by_name: dict[str, list[Balance]] = {}
    for balance in balances:
        if balance.even is not None and balance.measurement.name in names:
            by_name.setdefault(balance.measurement.name, []).append(balance)
    return [*by_name.values()]


def _network(rounds: Sequence[Balance]) -> Finding | None:
    """How evenly the replicas' network bytes and answers were shared, what was expected, and why."""
    first = rounds[0]
    even = first.even
    if even is None:
        return None
    anchor = f"share-{first.id}"
    parts: list[Part] = [first.measurement.title]
    parts += [", ", Number(f"round {first.number}", anchor)] if len(rounds) > 1 else []
    parts += [". ", *_shares(first, anchor), _expected(first), " "]
    largest, expected = (Number(f"{share:.1%}", anchor) for share in (even.largest, even.expected_largest))
    most = " at most " if first.keeps_connections else " "
    parts += [f"So the busiest replica should give{most}", expected, " of the answers; it gave ", largest, ". "]
    parts += _deal(even, anchor)
    if len(rounds) > 1:
        shares = {balance.id: balance.even.largest for balance in rounds if balance.even is not None}
        least, most_uneven = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        parts += [" Over all rounds the busiest replica gave ", Number(f"{shares[least]:.1%}", f"share-{least}")]
        parts += [" to ", Number(f"{shares[most_uneven]:.1%}", f"share-{most_uneven}"), "."]
    return Finding(f"finding-network-{first.measurement.name}", "Network I/O of the replicas", tuple(parts))


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
        parts += [". Jain's index of the answers: ", Number(f"{balance.even.jain:.3f}", anchor), " ("]
        parts += [Number("1", anchor), " means that all replicas gave as many). "]
    return parts


def _expected(balance: Balance) -> str:
    if balance.keeps_connections:
        return (
            "Swarm's ingress deals out connections in turn, not requests. The users kept their connections, so each "
            "user stayed with one replica."
        )
    return "Swarm's ingress deals out connections in turn, and each request had a connection of its own."


def _deal(even: Evenness, anchor: str) -> list[Part]:
    if math.isnan(even.p_value):
        return [f"There were too few {even.cards} to test whether they were dealt evenly."]
    p_value = Number(words.p_value(even.p_value), anchor)
    said = "there is no sign of an uneven deal" if even.p_value >= 0.05 else "the deal was uneven"
    return [f"A fair deal of as many {even.cards} comes out at least as uneven with ", p_value, f", so {said}."]
