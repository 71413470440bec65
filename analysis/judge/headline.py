"""The headline: what was found, in a few sentences. Page, Markdown and terminal begin with it."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.judge import words
from analysis.judge.advice import command_with
from analysis.judge.capacities import capacity_headline
from analysis.judge.changes import change_headline
from analysis.judge.doubts import Validity
from analysis.judge.staircases import staircase_headline
from analysis.judge.verdicts import FASTER, NAMES, NONE, ONE_ROUND, SLOWER, UNPROVEN, Verdict, against_first
from analysis.measure.balance import Balance
from analysis.measure.effects import Effect
from analysis.measure.quantity import FEWEST_ROUNDS, QUANTITIES
from analysis.measure.rounds import Measurement
from analysis.measure.searches import Search
from analysis.measure.steps import Staircase
from runfiles.deployments import title_of

AT = {"median_ms": "the median", "p95_ms": "p95"}
"""The quantities that are judged, within a sentence."""


def headline(
    loads: Sequence[Measurement],
    verdicts: Sequence[Verdict],
    balances: Sequence[Balance],
    validity: Validity,
    command: str,
    staircases: Sequence[Staircase] = (),
    searches: Sequence[Search] = (),
    effects: Sequence[Effect] = (),
) -> tuple[str, ...]:
    """What was found: first one plain sentence, then the numbers of each deployment. ``command`` ran the experiment."""
    if not validity.is_valid:
        return (_not_valid(validity),)
    if not loads:
        return ("Nothing was measured: no deployment has a load that can be read.",)
    if effects:
        return change_headline(effects)
    if staircases:
        return staircase_headline(staircases)
    if searches:
        return capacity_headline(searches, verdicts)
    medians = [*against_first(verdicts).values()]
    said = _compared(medians, verdicts, command) if medians else _alone(loads[0])
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
            most = "at most " if balance.is_sticky else ""
            who = balance.measurement.title
            return [
                f"{who}: the busiest replica gave {largest:.1%} of the answers; {most}{expected:.1%} were expected."
            ]
    return []


def _compared(medians: Sequence[Verdict], verdicts: Sequence[Verdict], command: str) -> list[str]:
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
    return [*said, _refused(refused[0], command, is_other_judged=bool(said))] if refused else said


def _proven(proven: Sequence[Verdict]) -> list[str]:
    """``docker run is slower than the host process. Docker Compose is slower than the host process at p95.``: what is
    proven of each pair, in one text. At which quantity is said if it is not the median, or if the two contradict."""
    groups: dict[tuple[str, str, str], dict[str, str]] = {}
    for (subject, baseline), verdicts in _by_pair(proven).items():
        kinds = {
            verdict.kind: [AT[other.key] for other in verdicts if other.kind == verdict.kind] for verdict in verdicts
        }
        for kind, quantities in kinds.items():
            at = "" if len(kinds) == 1 and AT["median_ms"] in quantities else f" at {' and '.join(quantities)}"
            groups.setdefault((kind, baseline, at), {})[subject] = words.named(verdicts[0].subject)
    named = {verdict.baseline.name: words.named(verdict.baseline) for verdict in proven}
    said = [
        f"{words.first_letter(words.listed([*subjects.values()]))} {'is' if len(subjects) == 1 else 'are'} {kind} than "
        f"{named[baseline]}{at}."
        for (kind, baseline, at), subjects in groups.items()
    ]
    return [" ".join(said)] if said else []


def _by_pair(verdicts: Sequence[Verdict]) -> dict[tuple[str, str], list[Verdict]]:
    """The verdicts of each pair, by the names of its subject and its baseline."""
    pairs: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        pairs.setdefault((verdict.subject.name, verdict.baseline.name), []).append(verdict)
    return pairs


def _numbers(proven: Sequence[Verdict], unproven: Sequence[Verdict]) -> list[str]:
    """For each pair with a proven difference: ``Docker Compose: p95 2.96 against 0.85 ms, round by round 3.46 times
    (95% interval 3.14 to 3.83); no difference of the median is proven.``"""
    pairs, others = _by_pair(proven), _by_pair(unproven)
    has_one_baseline = len({baseline for _, baseline in pairs}) == 1
    said = []
    for pair, verdicts in pairs.items():
        parts = [_number(verdict) for verdict in verdicts]
        parts += [f"no difference of {AT[verdict.key]} is proven" for verdict in others.get(pair, ())]
        against = "" if has_one_baseline else f" against {words.named(verdicts[0].baseline)}"
        said.append(f"{words.first_letter(words.named(verdicts[0].subject))}{against}: {'; '.join(parts)}.")
    return said


def _number(verdict: Verdict) -> str:
    """A quantity of both deployments in ms, and their ratio."""
    subject, baseline = (words.plain(load, verdict.key) for load in (verdict.subject, verdict.baseline))
    found = verdict.comparison
    interval = f"95% interval {found.low:.2f} to {found.high:.2f}" if found.has_interval else words.TWO_ROUNDS
    ratio = f"{words.ROUND_BY_ROUND} {found.ratio:.2f} times ({interval})"
    return f"{NAMES[verdict.key]} {subject} against {baseline} ms, {ratio}"


def _unproven(unproven: Sequence[Verdict], proven: Sequence[Verdict]) -> list[str]:
    """The deployments of which nothing is proven, beside others of which something is."""
    differ = _by_pair(proven)
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


def _refused(verdict: Verdict, command: str, *, is_other_judged: bool) -> str:
    """Why two deployments are not compared."""
    both = f"{words.first_letter(words.named(verdict.subject))} and {words.named(verdict.baseline)} are"
    if verdict.unlike is not None:
        return f"{both} {verdict.detail}."
    if is_other_judged:
        return f"{both} not compared: {verdict.detail}."
    advice = f" Measure five: {command_with(command, rounds=5)}." if verdict.detail == ONE_ROUND else ""
    return f"There is no verdict on the response times: {verdict.detail}.{advice}"
