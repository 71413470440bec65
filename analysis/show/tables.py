"""The page's tables: each pair of deployments, each replica's share, and all figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.doubts import Validity
from analysis.judge.findings import estimate_anchor
from analysis.judge.verdicts import CARRIES_LESS, CARRIES_MORE, FASTER, NAMES, NONE, SLOWER, UNPROVEN, Verdict
from analysis.measure.balance import Balance, Evenness, ReplicaShare
from analysis.measure.quantity import Quantity
from analysis.measure.rounds import Measurement
from analysis.show.chart_style import colour
from analysis.show.elements import Cell, Column, Row, Table
from runfiles.deployments import title_of

VERDICT_STYLES = {SLOWER: "slower", FASTER: "faster", UNPROVEN: "undecided", NONE: "none"}
VERDICT_STYLES |= {CARRIES_LESS: "faster", CARRIES_MORE: "slower"}
"""The style of a verdict: those of *slower* have an arrow up, those of *faster* an arrow down."""
THE_RATIO = "The ratio is the value of the first deployment divided by that of the second."
RATIO_OF_ROUNDS = "It is computed in each round; the table shows the mean and its 95% interval."
RATIO_OF_BLOCKS = (
    "Both ran at once, and the load went to and fro between them in short blocks. So each two blocks of a cycle give a "
    "ratio of their own, from the same few seconds. The ratio of a round is the mean of these, without the highest and "
    "the lowest fifth. The table shows the mean of the rounds and its 95% interval."
)
RATIO_OF_CAPACITIES = (
    "It is computed in each round; the table shows the mean and its 95% interval. With fewer than three rounds it "
    "comes from all steps together, and there is no verdict."
)
RATIO_ACROSS_GROUPS = "Deployments of different groups are compared through the reference of all groups: {}."
NO_QUOTIENT = "So a ratio need not be the quotient of two values of the tables below, which are means of the rounds."
HOW_VERDICTS_ARE_MADE = (
    "The verdict is about the first deployment. The verdicts are corrected for the number of comparisons in this table "
    "(Holm's correction): the chance that even one of them reports a difference where there is none is at most 5%. p "
    "is the corrected p-value, and a verdict needs p < 0.05; the correction can make two p-values equal. It is also "
    "why an interval may exclude 1 although no difference is proven."
)
NAMELESS = (
    "The service does not say which replica answered, so the answers of each replica are not known. The connections "
    "are those that each replica accepted, also those of a health check in its container. The bytes are those of its "
    "network interfaces."
)
SHARE_COLUMNS = (
    "Replica",
    "Connections (with warm-up)",
    "Answers (measured phase)",
    "Share of answers",
    "Bytes in",
    "Bytes out",
    "Share of bytes",
    "Share of CPU",
)


def how_pairs_are_read(analysis: Analysis) -> str:
    """How the ratios of the pairs are computed, and what the verdicts say."""
    if not any(verdict.shows_ratio for verdict in analysis.verdicts):
        return "No ratio is shown. The verdict of each pair says why."
    in_blocks = words.is_in_blocks(analysis.loads)
    if analysis.searches:
        return " ".join([THE_RATIO, RATIO_OF_CAPACITIES, HOW_VERDICTS_ARE_MADE])
    said = [THE_RATIO, RATIO_OF_BLOCKS if in_blocks else RATIO_OF_ROUNDS]
    groups = analysis.results.experiment.groups
    reference = [name for name in (groups[0] if groups else ()) if all(name in group for group in groups)]
    if in_blocks and len(groups) > 1 and reference:
        said.append(RATIO_ACROSS_GROUPS.format(title_of(reference[0])))
    return " ".join([*said, NO_QUOTIENT, HOW_VERDICTS_ARE_MADE])


def pair_tables(analysis: Analysis) -> tuple[Table, ...]:
    """Each pair of deployments with the ratio and the verdict of each quantity; none where there is no pair."""
    verdicts = analysis.verdicts
    if not verdicts:
        return ()
    pairs: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        pairs.setdefault((verdict.baseline.name, verdict.subject.name), []).append(verdict)
    columns = [Column("Pair")]
    for verdict in next(iter(pairs.values())):
        name = NAMES[verdict.key]
        columns += [Column(f"Ratio of the {name}"), Column(f"Verdict on the {name}")]
    title = "Each pair of deployments"
    rows = tuple(_pair_row(pair) for pair in pairs.values())
    return (Table(title, title, tuple(columns), rows, how_pairs_are_read(analysis)),)


def _pair_row(pair: Sequence[Verdict]) -> Row:
    cells: list[Cell] = []
    for verdict in pair:
        ratio = words.ratio(verdict) or "not shown"
        cells.append(Cell(ratio, _rounds_and_p_value(verdict), f"verdict-{verdict.id}"))
        cells.append(Cell(words.verdict(verdict), style=f"verdict {VERDICT_STYLES[verdict.kind]}"))
    return Row(words.pair(pair[0]), tuple(cells))


def _rounds_and_p_value(verdict: Verdict) -> str:
    rounds = verdict.comparison.rounds
    detail = f"{rounds} round{'s' if rounds != 1 else ''}" if verdict.shows_ratio else ""
    return detail if math.isnan(verdict.p_value) else f"{detail}, {words.p_value(verdict.p_value)}"


def share_table(balance: Balance) -> Table:
    """What each replica of a round gave and used."""
    label = f"{balance.measurement.title}, round {balance.number}: shares"
    heading = label if len(balance.measurement.rounds) > 1 else f"{balance.measurement.title}: shares"
    rows = tuple(_share_row(balance, place, share) for place, share in enumerate(balance.shares))
    how_to_read = _evenness(balance.even) if balance.even else NAMELESS if balance.is_nameless else ""
    return Table(heading, label, tuple(map(Column, SHARE_COLUMNS)), rows, how_to_read, f"share-{balance.id}")


def _share_row(balance: Balance, place: int, share: ReplicaShare) -> Row:
    why = f": {share.missing}" if share.missing else ""
    known = [_megabytes(share.received_bytes), _megabytes(share.sent_bytes)]
    known += [_percent(share.byte_share), _percent(share.cpu_share)]
    connections = "(at the proxy)" if balance.deals_requests else _count(share.connections)
    texts = [connections, _count(share.requests), _percent(share.request_share)]
    return Row(share.title, tuple(map(Cell, [*texts, *(text + why for text in known)])), f"share-{balance.id}-{place}")


def _count(number: float) -> str:
    return "not measured" if math.isnan(number) else f"{number:,.0f}"


def _evenness(even: Evenness) -> str:
    said = (
        f"The busiest replica gave {_percent(even.largest)} of the answers; {_percent(even.expected_largest)} were "
        f"expected, because {even.why}. The shares of CPU are not compared. "
    )
    if math.isnan(even.p_value):
        return f"{said}There were too few {even.cards} to test whether they were dealt evenly."
    return f"{said}Jain's index {even.jain:.3f}; test of an even deal: {words.p_value(even.p_value)}."


def figure_tables(analysis: Analysis) -> tuple[Table, ...]:
    """All figures of the loads, and of the single passes."""
    kinds = (
        ("load", "Under load", analysis.loads),
        ("pass", "Single pass: one user, each text once", analysis.passes),
    )
    return tuple(_figures(run, heading, measured, analysis.validity) for run, heading, measured in kinds if measured)


def _figures(run: str, heading: str, measured: Sequence[Measurement], validity: Validity) -> Table:
    columns = [Column("Quantity")]
    for measurement in measured:
        warning = "not valid" if validity.of(measurement.name) else ""
        count = len(measurement.rounds)
        detail = f"{count} round{'s' if count != 1 else ''}"
        columns.append(Column(measurement.title, colour(measurement.name), warning, detail))
    rows = tuple(_figure_row(run, quantity, measured) for quantity in words.rows_of(measured))
    said = (
        words.passes(measured) if run == "pass" else "",
        words.MEMORY_FOOTNOTE if words.is_memory_mixed(measured) else "",
    )
    footnote = " ".join(filter(None, said))
    return Table(heading, heading, tuple(columns), rows, footnote)


def _figure_row(run: str, quantity: Quantity, measured: Sequence[Measurement]) -> Row:
    cells = []
    for measurement in measured:
        estimate = measurement.summary[quantity.key]
        number = words.number(estimate, quantity.digits)
        detail = words.interval(estimate, quantity.digits, len(measurement.rounds))
        cells.append(Cell(number, detail, estimate_anchor(measurement.name, quantity.key, run)))
    counted = words.what_n_counts([measurement.summary[quantity.key] for measurement in measured])
    return Row(words.row_title(quantity, measured), tuple(cells), detail=counted)


def _percent(share: float) -> str:
    return "not measured" if math.isnan(share) else f"{share * 100:.1f}%"


def _megabytes(count: float) -> str:
    return "not measured" if math.isnan(count) else f"{count / 1e6:,.3f} MB"
