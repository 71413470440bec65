"""The figures to hand in: what ``docker stats`` shows, and the response times, in a table for the load and one for the
single pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.capacities import capacity_line
from analysis.judge.doubts import Validity
from analysis.measure.quantity import FEWEST_ROUNDS, Estimate
from analysis.measure.rounds import Measurement
from analysis.read.results import Deployment
from analysis.show.elements import Cell, Column, Row, Table
from runfiles.events import STATUS_MEASURED

HOW_TO_READ = (
    "Names and units are those of docker stats, so that you can compare your own reading. CPU % (100% is one core) and "
    "MEM are means over the measured time; docker stats shows one moment. NET I/O is what came in and went out in the "
    "measured time; docker stats counts from the start of the container, so read it before and after the requests and "
    "subtract. If a deployment has several replicas, a figure is that of all together."
)
NO_INTERVALS = "Fewer than three rounds give no 95% interval."
BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
DECIMAL_UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Kind:
    """The loads, or the single passes, of all deployments that have one. ``of``: what a total is given for."""

    heading: str
    measured: Sequence[Measurement]
    is_pass: bool

    @property
    def of(self) -> str:
        return "pass" if self.is_pass else "round"


def kinds_of(analysis: Analysis) -> tuple[Kind, ...]:
    """The loads and the single passes, if a deployment has one; the loads alone if nothing was measured. Loads with
    changes have no such figures."""
    loads = Kind("Under load", () if analysis.results.has_changes else analysis.loads, is_pass=False)
    passes = Kind("Single pass: one user, each text once", analysis.passes, is_pass=True)
    return tuple(kind for kind in (loads, passes) if kind.measured) or (loads,)


def why_not_measured(deployment: Deployment) -> str:
    """``not measured: the reason``, of a deployment that is in no figure."""
    if deployment.status == STATUS_MEASURED:
        return "not measured: no such run can be read"
    return f"not measured: {deployment.reason}" if deployment.reason else "not measured"


def about_intervals(analysis: Analysis, where: str) -> str:
    """Where the intervals stand, if a deployment has any, and why some have none: said once, not in each cell."""
    rounds = [len(measurement.rounds) for kind in kinds_of(analysis) for measurement in kind.measured]
    said = where if any(count >= FEWEST_ROUNDS for count in rounds) else ""
    return f"{said} {NO_INTERVALS}".lstrip() if any(count < FEWEST_ROUNDS for count in rounds) else said


def hand_in_tables(analysis: Analysis) -> tuple[Table, ...]:
    """The table of the loads and that of the single passes, with a row for each deployment."""
    return tuple(_table(kind, analysis) for kind in kinds_of(analysis) if kind.measured)


def _table(kind: Kind, analysis: Analysis) -> Table:
    heading, measured, is_pass = kind.heading, kind.measured, kind.is_pass
    columns = (
        Column("Run as"),
        Column("CPU %"),
        Column("MEM USAGE / LIMIT"),
        Column("MEM %"),
        Column("NET I/O", detail=f"in / out, per {kind.of}"),
        Column("Requests", detail=f"per {kind.of}"),
        Column("Median", detail="response time"),
        Column("p95", detail="response time"),
    )
    is_mixed = words.is_memory_mixed(measured)
    rows = tuple(_row(measurement, analysis.validity, is_pass, is_mixed) for measurement in measured)
    said = (
        words.passes(measured) if is_pass else capacity_line(analysis.searches),
        words.MEMORY_FOOTNOTE if is_mixed else "",
    )
    id = f"hand-in-{'pass' if is_pass else 'load'}"
    how_to_read = " ".join(filter(None, said))
    return Table(heading, f"Figures to hand in: {heading}", columns, rows, how_to_read, id, _copied(columns, rows))


def _row(measurement: Measurement, validity: Validity, is_pass: bool, is_memory_marked: bool) -> Row:
    summary = measurement.summary
    passes = words.passes_of(measurement) if is_pass else 1.0
    mark = words.MEMORY_MARK if is_memory_marked else ""
    cells = (
        _cell(summary["cpu_percent"], 2, "%"),
        _memory(summary["memory_mean_mb"], summary["memory_limit_mb"], mark),
        _cell(summary["memory_percent"], 2, "%"),
        _network(summary["interface_in_mb"], summary["interface_out_mb"], passes),
        _requests(measurement, passes),
        _cell(summary["median_ms"], 2, " ms"),
        _cell(summary["p95_ms"], 2, " ms"),
    )
    return Row(measurement.title, cells, detail="not valid" if validity.of(measurement.name) else "")


def _requests(measurement: Measurement, passes: float) -> Cell:
    """How many requests the bytes of the network belong to."""
    rounds = len(measurement.rounds)
    detail = f"{rounds} round{'s' if rounds != 1 else ''}"
    return Cell(f"{measurement.summary['requests'].value / rounds / passes:,.0f}", detail)


def _cell(estimate: Estimate, digits: int, unit: str) -> Cell:
    """A figure with its interval, if it has one, or why it is missing."""
    text = words.number(estimate, digits)
    if not estimate.is_measured:
        return Cell(text, estimate.missing or "")
    details = (interval(estimate, digits), words.PART if estimate.is_part else "")
    return Cell(f"{text}{unit}", "\n".join(filter(None, details)))


def interval(estimate: Estimate, digits: int) -> str:
    """The interval, or that the clock is too coarse; nothing where the rounds are too few, as ``about_intervals`` says
    that."""
    return words.low_to_high(estimate, digits).replace(words.TWO_ROUNDS, "")


def _memory(mean: Estimate, limit: Estimate, mark: str) -> Cell:
    """Usage and limit in binary units, and below them the usage in MB, as the other tables have it."""
    if not mean.is_measured:
        return _cell(mean, 1, "")
    usage = binary_size(mean.value * 1e6)
    most = binary_size(limit.value * 1e6) if limit.is_measured else "no limit"
    below = _cell(mean, 1, " MB")
    return Cell(f"{usage} / {most}{mark}", f"{below.text}\n{below.detail}".rstrip())


def _network(received: Estimate, sent: Estimate, passes: float) -> Cell:
    if not (received.is_measured and sent.is_measured):
        return _cell(sent if received.is_measured else received, 0, "")
    one_way, other_way = (decimal_size(estimate.value * 1e6 / passes) for estimate in (received, sent))
    return Cell(f"{one_way} / {other_way}")


def _copied(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """The table without its small print, as spreadsheets take it: cells apart by tabs. A formula stays text there."""
    head = [f"{column.title} ({column.detail})" if column.detail else column.title for column in columns]
    lines = [head, *([row.title, *(cell.text for cell in row.cells)] for row in rows)]
    return "\n".join("\t".join(words.no_formula(text) for text in line) for line in lines)


def binary_size(count: float) -> str:
    """Bytes as ``docker stats`` prints memory: four digits, 1 KiB = 1,024 B."""
    return _size(count, 1024, BINARY_UNITS, 4)


def decimal_size(count: float) -> str:
    """Bytes as ``docker stats`` prints what went over the network: three digits, 1 kB = 1,000 B."""
    return _size(count, 1000, DECIMAL_UNITS, 3)


def _size(count: float, base: int, units: Sequence[str], digits: int) -> str:
    place = 0
    while float(f"{count:.{digits}g}") >= base and place < len(units) - 1:
        count /= base
        place += 1
    return f"{count:.{digits}g}{units[place]}"
