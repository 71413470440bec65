"""The headline: what was found, in a few sentences. Page, Markdown and terminal begin with it."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.judge import words
from analysis.judge.doubts import Validity
from analysis.judge.verdicts import FASTER, NAMES, NONE, ONE_ROUND, SLOWER, UNPROVEN, Verdict, against_first
from analysis.measure.balance import Balance
from analysis.measure.quantity import FEWEST_ROUNDS, QUANTITIES
from analysis.measure.rounds import Measurement
from runfiles.deployments import title_of

AT = {"median_ms": "the median", "p95_ms": "p95"}
"""The quantities that are judged, within a sentence."""


def headline(
    loads: Sequence[Measurement], verdicts: Sequence[Verdict], balances: Sequence[Balance], validity: Validity
) -> tuple[str, ...]:
    """What was found: first one plain sentence, then the numbers of each deployment."""
    if not validity.is_valid:
        return (_not_valid(validity),)
    if not loads:
        return ("Nothing was measured: no deployment has a load that can be read.",)
    medians = [*against_first(verdicts).values()]
    said = _compared(medians, verdicts) if medians else _alone(loads[0])
    if all(verdict.kind == NONE for verdict in verdicts):
        said = [*_balanced(balances), *said]
    return tuple(said)


def _not_valid(validity: Validity) -> str:
    """Each kind of reason once, with the deployments that it concerns."""
    names: dict[str, dict[str, None]] = {}
    for doubt in validity.invalid:
        titles = map(title_of, doubt.deployments)
        names.setdefault(doubt.title, {}).update(dict.fromkeys(titles))
    reasons = [f"{title} ({' and '.join(concerned)})" if concerned else title for title, concerned in names.items()]
    return f"Not valid: {'; '.join(reasons)}."


def _alone(load: Measurement) -> list[str]:
    median = load.summary["median_ms"]
    digits = QUANTITIES["median_ms"].digits
    said = f"Only {words.named(load)} was measured, so there is nothing to compare."
    if not median.is_measured:
        return [said]
    interval = f" (95% interval {words.low_to_high(median, digits)})" if median.has_interval else ""
    return [said, f"Its median response time is {words.number(median, digits)} ms{interval}."]


def _balanced(balances: Sequence[Balance]) -> list[str]:
    """How evenly the replicas of the first round shared the answers, which is what such an experiment shows."""
    for balance in balances:
        if balance.even is not None:
            largest, expected = balance.even.largest, balance.even.expected_largest
            most = "at most " if balance.keeps_connections else ""
            who = balance.measurement.title
            return [
                f"{who}: the busiest replica gave {largest:.1%} of the answers; {most}{expected:.1%} were expected."
            ]
    return []


def _compared(medians: Sequence[Verdict], verdicts: Sequence[Verdict]) -> list[str]:
    """The verdicts on the pairs of ``medians``, proven differences first."""
    pairs = [(median.subject.name, median.baseline.name) for median in medians]
    judged = [verdict for verdict in verdicts if (verdict.subject.name, verdict.baseline.name) in pairs]
    proven = [verdict for verdict in judged if verdict.kind in (SLOWER, FASTER)]
    unproven = [verdict for verdict in judged if verdict.kind == UNPROVEN]
    if unproven and not proven:  # against the first deployment; two others may differ
        proven = [verdict for verdict in verdicts if verdict.kind in (SLOWER, FASTER)]
    said = [*_proven(proven), *_numbers(proven, unproven)]
    said += _unproven(unproven, proven) if said else _nothing_proven(unproven)
    refused = [median for median in medians if median.kind == NONE]
    return [*said, _refused(refused[0], is_other_judged=bool(said))] if refused else said


def _proven(proven: Sequence[Verdict]) -> list[str]:
    """``docker run and Docker Compose are slower than the host process.`` Where only one quantity is proven, or the two
    differ in direction: at which."""
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in proven:
        groups.setdefault((verdict.kind, verdict.baseline.name), []).append(verdict)
    return [_sentence(group, proven) for group in groups.values()]


def _sentence(group: Sequence[Verdict], proven: Sequence[Verdict]) -> str:
    pairs = {(verdict.subject.name, verdict.baseline.name) for verdict in group}
    subjects = {verdict.subject.name: words.named(verdict.subject) for verdict in group}
    others = [verdict for verdict in proven if verdict.kind != group[0].kind]
    keys = dict.fromkeys(verdict.key for verdict in group)
    is_plain = "median_ms" in keys and not any((other.subject.name, other.baseline.name) in pairs for other in others)
    at = "" if is_plain else f" at {' and '.join(AT[key] for key in keys)}"
    who, is_ = words.first_letter(words.listed([*subjects.values()])), "is" if len(subjects) == 1 else "are"
    return f"{who} {is_} {group[0].kind} than {words.named(group[0].baseline)}{at}."


def _numbers(proven: Sequence[Verdict], unproven: Sequence[Verdict]) -> list[str]:
    """For each pair with a proven difference: ``Docker Compose: p95 2.96 against 0.85 ms, 3.46 times (95% interval 3.14
    to 3.83); no difference of the median is proven.``"""
    pairs: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in proven:
        pairs.setdefault((verdict.subject.name, verdict.baseline.name), []).append(verdict)
    said = []
    for pair, verdicts in pairs.items():
        parts = [_number(verdict) for verdict in verdicts]
        parts += [
            f"no difference of {AT[verdict.key]} is proven"
            for verdict in unproven
            if (verdict.subject.name, verdict.baseline.name) == pair
        ]
        said.append(f"{words.first_letter(words.named(verdicts[0].subject))}: {'; '.join(parts)}.")
    return said


def _number(verdict: Verdict) -> str:
    """A quantity of both deployments in ms, and their ratio."""
    subject, baseline = (words.plain(load, verdict.key) for load in (verdict.subject, verdict.baseline))
    found = verdict.comparison
    interval = f"95% interval {found.low:.2f} to {found.high:.2f}" if found.has_interval else words.TWO_ROUNDS
    return f"{NAMES[verdict.key]} {subject} against {baseline} ms, {found.ratio:.2f} times ({interval})"


def _unproven(unproven: Sequence[Verdict], proven: Sequence[Verdict]) -> list[str]:
    """The deployments of which nothing is proven, beside others of which something is."""
    differ = {(verdict.subject.name, verdict.baseline.name) for verdict in proven}
    names: dict[str, dict[str, None]] = {}
    for verdict in unproven:
        if (verdict.subject.name, verdict.baseline.name) not in differ:
            names.setdefault(words.named(verdict.baseline), {})[words.named(verdict.subject)] = None
    return [
        f"No difference from {baseline} is proven for {words.listed([*subjects])}."
        for baseline, subjects in names.items()
    ]


def _nothing_proven(unproven: Sequence[Verdict]) -> list[str]:
    """Why nothing is proven."""
    medians = [verdict for verdict in unproven if verdict.key == "median_ms"]
    if not medians:
        return []
    noisiest = max(medians, key=lambda verdict: verdict.comparison.spread)
    too_few = noisiest.comparison.rounds < FEWEST_ROUNDS
    why = "two rounds are too few for the noise of this machine" if too_few else noisiest.detail
    return [f"No difference is proven: {why}."]


def _refused(verdict: Verdict, is_other_judged: bool) -> str:
    """Why two deployments are not compared."""
    both = f"{words.first_letter(words.named(verdict.subject))} and {words.named(verdict.baseline)} are"
    if verdict.unlike is not None:
        return f"{both} {verdict.detail}."
    if is_other_judged:
        return f"{both} not compared: {verdict.detail}."
    advice = ' Measure five: make bench ARGS="--set rounds=5".' if verdict.detail == ONE_ROUND else ""
    return f"There is no verdict on the response times: {verdict.detail}.{advice}"
