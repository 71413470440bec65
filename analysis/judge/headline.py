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


def headline(
    loads: Sequence[Measurement], verdicts: Sequence[Verdict], balances: Sequence[Balance], validity: Validity
) -> str:
    """What was found. Each quantity has its own sentence, which names all deployments that it is true of."""
    if not validity.is_valid:
        return _not_valid(validity)
    if not loads:
        return "Nothing was measured: no deployment has a load that can be read."
    medians = [*against_first(verdicts).values()]
    said = _compared(medians, verdicts) if medians else [_alone(loads[0])]
    if all(verdict.kind == NONE for verdict in verdicts):
        said = [*_balanced(balances), *said]
    return " ".join(said)


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
    said = f"Only {words.named(load)} was measured, so there is nothing to compare."
    if not median.is_measured:
        return said
    interval = f" (95% interval {words.low_to_high(median, digits)})" if median.has_interval else ""
    return f"{said} Its median response time is {words.number(median, digits)} ms{interval}."


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
    said = _proven(proven)
    said += _unproven(unproven, proven) if said else _nothing_proven(unproven)
    refused = [median for median in medians if median.kind == NONE]
    return [*said, _refused(refused[0], is_other_judged=bool(said))] if refused else said


def _proven(proven: Sequence[Verdict]) -> list[str]:
    """``docker run and Docker Compose are slower than the host process: p95 3.07 and 2.96 against 0.85 ms, 3.59 and
    3.46 times (95% intervals 3.36 to 3.85 and 3.14 to 3.83).``"""
    groups: dict[tuple[str, str, str], list[Verdict]] = {}
    for verdict in proven:
        groups.setdefault((verdict.key, verdict.kind, verdict.baseline.name), []).append(verdict)
    numbers: dict[str, list[str]] = {}
    for group in groups.values():
        who = words.first_letter(words.listed([words.named(verdict.subject) for verdict in group]))
        is_ = "is" if len(group) == 1 else "are"
        head = f"{who} {is_} {group[0].kind} than {words.named(group[0].baseline)}"
        numbers.setdefault(head, []).append(_numbers(group))
    return [f"{head}: {'; '.join(said)}." for head, said in numbers.items()]


def _numbers(group: Sequence[Verdict]) -> str:
    """A quantity of each deployment in ms, that of the baseline, and the ratios."""
    key = group[0].key
    took = words.listed([words.plain(verdict.subject, key) for verdict in group])
    baseline = words.plain(group[0].baseline, key)
    ratios = words.listed([f"{verdict.comparison.ratio:.2f}" for verdict in group])
    return f"{NAMES[key]} {took} against {baseline} ms, {ratios} times ({_intervals(group)})"


def _intervals(group: Sequence[Verdict]) -> str:
    found = [verdict.comparison for verdict in group]
    if not all(comparison.has_interval for comparison in found):
        return words.TWO_ROUNDS
    bounds = words.listed([f"{comparison.low:.2f} to {comparison.high:.2f}" for comparison in found])
    return f"95% interval{'s' if len(found) > 1 else ''} {bounds}"


def _unproven(unproven: Sequence[Verdict], proven: Sequence[Verdict]) -> list[str]:
    """What is not proven, beside what is: for which deployments, and of which quantity if the other one is proven."""
    differ = {(verdict.subject.name, verdict.baseline.name) for verdict in proven}
    names: dict[str, dict[str, None]] = {}
    for verdict in unproven:
        is_other_proven = (verdict.subject.name, verdict.baseline.name) in differ
        of = f" of {'the median' if verdict.key == 'median_ms' else 'p95'}" if is_other_proven else ""
        about = f"{of} from {words.named(verdict.baseline)}"
        names.setdefault(about, {})[words.named(verdict.subject)] = None
    return [f"No difference{about} is proven for {words.listed([*subjects])}." for about, subjects in names.items()]


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
    return f"There is no verdict: {verdict.detail}.{advice}"
