"""The page's tables: each pair of deployments, each replica's share, and all figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.doubts import Validity
from analysis.judge.findings import Balance, estimate_anchor
from analysis.judge.verdicts import FASTER, NONE, SLOWER, UNPROVEN, Verdict
from analysis.measure.balance import Evenness, ReplicaShare
from analysis.measure.quantity import Quantity
from analysis.measure.rounds import Measurement
from analysis.show.chart_style import colour
from analysis.show.elements import Cell, Column, Row, Table

VERDICT_STYLES = {SLOWER: "slower", FASTER: "faster", UNPROVEN: "undecided", NONE: "none"}
HOW_PAIRS_ARE_READ = (
    "Each ratio compares two deployments round by round. It has a 95% interval; fewer than three rounds "
    "give none. The verdicts are corrected for the number of comparisons in this table (Holm's correction): the "
    "chance that even one of them reports a difference where there is none is at most 5%. Because of the correction "
    "an interval may exclude 1 although no difference is proven."
)
SHARE_COLUMNS = (
    "Replica",
    "Connections in the whole run",
    "Answers",
    "Share of answers",
    "Bytes in",
    "Bytes out",
    "Share of bytes",
    "Share of CPU",
)


def pair_tables(verdicts: Sequence[Verdict]) -> tuple[Table, ...]:
    """Each pair of deployments with the ratio and the verdict of each quantity; none where there is no pair."""
    if not verdicts:
        return ()
    pairs: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        pairs.setdefault((verdict.baseline.name, verdict.subject.name), []).append(verdict)
    columns = [Column("Pair")]
    for verdict in next(iter(pairs.values())):
        name = "Median" if verdict.key == "median_ms" else "p95"
        columns += [Column(f"{name}: ratio"), Column("Verdict")]
    title = "Each pair of deployments"
    rows = tuple(_pair_row(pair) for pair in pairs.values())
    return (Table(title, title, tuple(columns), rows, HOW_PAIRS_ARE_READ),)


def _pair_row(pair: Sequence[Verdict]) -> Row:
    cells: list[Cell] = []
    for verdict in pair:
        ratio = words.ratio(verdict.comparison) or "-"
        cells.append(Cell(ratio, _rounds_and_p_value(verdict), f"verdict-{verdict.id}"))
        cells.append(Cell(words.verdict(verdict), style=f"verdict {VERDICT_STYLES[verdict.kind]}"))
    return Row(f"{pair[0].subject.title} against {pair[0].baseline.title}", tuple(cells))


def _rounds_and_p_value(verdict: Verdict) -> str:
    rounds = verdict.comparison.rounds
    detail = "" if verdict.is_elsewhere else f"{rounds} round{'s' if rounds != 1 else ''}"
    return detail if math.isnan(verdict.p_value) else f"{detail}, {words.p_value(verdict.p_value)}"


def share_table(balance: Balance) -> Table:
    """What each replica of a round gave and used."""
    label = f"{balance.measurement.title}, round {balance.number}: shares"
    heading = label if len(balance.measurement.rounds) > 1 else f"{balance.measurement.title}: shares"
    rows = tuple(_share_row(balance.id, place, share) for place, share in enumerate(balance.shares))
    how_to_read = _evenness(balance.even) if balance.even else ""
    return Table(heading, label, tuple(map(Column, SHARE_COLUMNS)), rows, how_to_read, f"share-{balance.id}")


def _share_row(id: str, place: int, share: ReplicaShare) -> Row:
    why = f": {share.missing}" if share.missing else ""
    known = [_megabytes(share.received_bytes), _megabytes(share.sent_bytes)]
    known += [_percent(share.byte_share), _percent(share.cpu_share)]
    texts = [f"{share.connections:,}", f"{share.requests:,}", _percent(share.request_share)]
    return Row(share.title, tuple(map(Cell, [*texts, *(text + why for text in known)])), f"share-{id}-{place}")


def _evenness(even: Evenness) -> str:
    said = (
        f"The busiest replica gave {_percent(even.largest)} of the answers. At most {_percent(even.expected_largest)} "
        f"were expected: {even.why}. Jain's index of the answers is {even.jain:.3f}; it is 1 where all replicas give "
        "the same number. "
    )
    if math.isnan(even.p_value):
        return f"{said}There were too few {even.cards} to test whether they were dealt evenly."
    verdict = "there is no sign of an uneven deal" if even.p_value >= 0.05 else "the deal was uneven"
    chance = words.p_value(even.p_value)
    return f"{said}A fair deal of as many {even.cards} is at least this uneven with {chance}: {verdict}."


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
        columns.append(Column(measurement.title, colour(measurement.name), warning))
    rows = tuple(_figure_row(run, quantity, measured) for quantity in words.rows_of(measured))
    return Table(heading, heading, tuple(columns), rows)


def _figure_row(run: str, quantity: Quantity, measured: Sequence[Measurement]) -> Row:
    cells = []
    for measurement in measured:
        estimate = measurement.summary[quantity.key]
        number, detail = words.number(estimate, quantity.digits), words.interval(estimate, quantity.digits)
        cells.append(Cell(number, detail, estimate_anchor(measurement.name, quantity.key, run)))
    return Row(f"{quantity.title}, {quantity.unit}" if quantity.unit else quantity.title, tuple(cells))


def _percent(share: float) -> str:
    return "not measured" if math.isnan(share) else f"{share * 100:.1f}%"


def _megabytes(count: float) -> str:
    return "not measured" if math.isnan(count) else f"{count / 1e6:,.3f} MB"
