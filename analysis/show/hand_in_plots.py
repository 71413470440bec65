"""The plots to hand in: CPU, memory, network I/O and latency of all deployments, as SVG and PNG for print.

Matplotlib draws them: it needs no browser, and the same figures give the same files. Names and numbers are those of the
tables (``analysis.show.hand_in``).
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.measure.quantity import NAN, Estimate
from analysis.measure.rounds import Measurement
from analysis.read.results import Deployment
from analysis.show.hand_in import Kind, binary_size, decimal_size, kinds_of, why_not_measured

DPI = 300
WIDTH_INCHES = 6.3
"""As wide as the text of a printed page."""
ROW_INCHES = 0.34
"""The height of a row of bars, or of a reason in two lines."""
LINE_INCHES = 0.135
"""What each further line of a reason adds."""
AROUND_ROWS_INCHES = 0.75
"""The height of a panel besides its rows: its heading, its axis, and the text below that."""
AROUND_PANELS_INCHES = 0.9
"""The height of the title and of the note below the panels."""
LONGEST_TITLE, LONGEST_REASON, LONGEST_LINE = 34, 60, 100
"""Characters of a deployment's title, of a line of the reason in an empty row, and of a line of the note."""
MOST_LINES = 8
"""A longer reason is cut; the report has it in full."""
ROOM_FOR_NUMBERS = 1.3
"""The length of the axis, over the end of the longest bar or interval: the numbers stand to the right of the bars."""
GROUP_HEIGHT = 0.7
"""The part of a row that its bars take."""
FILLS = (("#56B4E9", ""), ("white", "/////"))
"""Colour and pattern of the first and the second bar of a deployment. The pattern tells them apart without colours."""
STYLE = {
    "text.parse_math": False,  # a dollar in a name is a dollar
    "svg.fonttype": "none",  # text stays text: it can be searched and edited
    "svg.hashsalt": "fourfold",  # no random names in the file
    "font.size": 9,
    "axes.titlesize": 10,
    "hatch.linewidth": 0.6,
}


@dataclass(frozen=True)
class Series:
    """One bar of each deployment: the quantity, its name in the legend, and the text of the number beside the bar."""

    key: str
    name: str
    number: Callable[[Estimate], str]


@dataclass(frozen=True)
class Plot:
    """One plot to hand in. ``name`` is that of its files, without the end. ``scale``: how many of the axis' unit are
    one of the quantities'. ``is_total``: the figures grow with the number of passes, so they are those of one pass."""

    name: str
    title: str
    how_to_read: str
    axis: str
    series: tuple[Series, ...]
    scale: float = 1.0
    is_total: bool = False


@dataclass(frozen=True)
class Row:
    """One deployment in a panel: the estimates of its bars or, if there are none, the reason in lines."""

    deployment: Deployment
    estimates: tuple[Estimate, ...]
    reason: tuple[str, ...] = ()

    @property
    def height(self) -> float:
        """In rows of bars."""
        return 1 + max(0, len(self.reason) - 2) * LINE_INCHES / ROW_INCHES


PLOTS = (
    Plot(
        "cpu",
        "CPU of each deployment",
        "CPU % of all replicas together, the mean over the measured time. 100% is one core.",
        "CPU % (100% = one core)",
        (Series("cpu_percent", "CPU", lambda estimate: f"{words.number(estimate, 2)}%"),),
    ),
    Plot(
        "memory",
        "Memory of each deployment",
        "Memory of all replicas together, the mean over the measured time.",
        "MiB (1 MiB = 1,048,576 bytes)",
        (Series("memory_mean_mb", "memory", lambda estimate: binary_size(estimate.value * 1e6)),),
        scale=1e6 / (1 << 20),
    ),
    Plot(
        "network",
        "Network I/O of each deployment",
        "Bytes that came in and went out through the network interfaces of all replicas together, in the measured time "
        "of one round or of one single pass. More requests make more bytes, so look at the column Requests too.",
        "MB (1 MB = 1,000,000 bytes)",
        (
            Series("interface_in_mb", "in", lambda estimate: decimal_size(estimate.value * 1e6)),
            Series("interface_out_mb", "out", lambda estimate: decimal_size(estimate.value * 1e6)),
        ),
        is_total=True,
    ),
    Plot(
        "latency",
        "Latency of each deployment",
        "Response time as the client measures it. Half of the requests were faster than the median, 95% were faster "
        "than p95.",
        "response time in ms",
        tuple(
            Series(key, name, lambda estimate: f"{words.number(estimate, 2)} ms")
            for key, name in (("median_ms", "median"), ("p95_ms", "p95"))
        ),
    ),
)
"""In the order in which they are shown."""


def draw(plot: Plot, analysis: Analysis) -> dict[str, bytes]:
    """The content of the plot's two files, by their names: ``NAME.svg`` and ``NAME.png`` (300 dots per inch)."""
    kinds = kinds_of(analysis)
    rows = [_rows(plot, kind, analysis) for kind in kinds]
    heights = [AROUND_ROWS_INCHES + ROW_INCHES * sum(row.height for row in own) for own in rows]
    height = AROUND_PANELS_INCHES + sum(heights)
    content = {}
    with style.context(["default", STYLE]):  # also where the user has a style of their own
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        figure.suptitle(plot.title, fontweight="bold")
        panels = figure.subplots(len(kinds), squeeze=False, height_ratios=heights)[:, 0]
        for panel, kind, own in zip(panels, kinds, rows, strict=True):
            _draw_panel(panel, plot, kind, own, analysis)
        if len(plot.series) > 1:
            bars, names = panels[0].get_legend_handles_labels()
            figure.legend(bars, names, loc="outside upper right", frameon=False, ncols=len(names))
        figure.supxlabel(textwrap.fill(_note(plot, kinds), LONGEST_LINE), fontsize=8)
        for end in ("svg", "png"):
            file = io.BytesIO()
            metadata = {"Title": plot.title} | ({"Date": None} if end == "svg" else {})
            figure.savefig(file, format=end, dpi=DPI, metadata=metadata)
            content[f"{plot.name}.{end}"] = file.getvalue()
    return content


def _rows(plot: Plot, kind: Kind, analysis: Analysis) -> list[Row]:
    """A row for each deployment."""
    measured = {measurement.name: measurement for measurement in kind.measured}
    rows = []
    for deployment in analysis.results.deployments:
        measurement = measured.get(deployment.name)
        if measurement is None:
            rows.append(Row(deployment, (), _in_lines(why_not_measured(deployment))))
            continue
        estimates = tuple(_of_row(plot, kind, measurement, series.key) for series in plot.series)
        is_empty = not any(estimate.is_measured for estimate in estimates)
        rows.append(Row(deployment, estimates, _in_lines(words.why_missing(estimates[0])) if is_empty else ()))
    return rows


def _in_lines(reason: str) -> tuple[str, ...]:
    return tuple(textwrap.wrap(reason, LONGEST_REASON, max_lines=MOST_LINES, placeholder=" ..."))


def _draw_panel(panel: Axes, plot: Plot, kind: Kind, rows: Sequence[Row], analysis: Analysis) -> None:
    """The first row is on top; a deployment without bars has the reason in place of them."""
    ends, top, middles = [0.0], 0.0, []
    for row in rows:
        middle_of_row = top + row.height / 2
        middles.append(middle_of_row)
        top += row.height
        if row.reason:
            _write(panel, 0, middle_of_row, "\n".join(row.reason))
            continue
        height = GROUP_HEIGHT / len(plot.series)
        for place, (series, estimate) in enumerate(zip(plot.series, row.estimates, strict=True)):
            middle = middle_of_row - GROUP_HEIGHT / 2 + height * (place + 0.5)
            if estimate.is_measured:
                number = series.number(estimate)
                ends.append(_draw_bar(panel, middle, height, FILLS[place], estimate, number, plot.scale))
            else:  # there is no room for the reason; the table has it
                _write(panel, 0, middle, f"{series.name}: {words.number(estimate, 0)}")
    for series, (colour, pattern) in zip(plot.series, FILLS, strict=False):  # also if no deployment has the bar
        panel.barh([NAN], [NAN], color=colour, hatch=pattern, edgecolor="black", label=series.name)
    panel.set_title(kind.heading, loc="left")
    panel.set_xlabel(plot.axis if not plot.is_total else f"{plot.axis}, per {kind.of}")
    panel.set_xlim(0, ROOM_FOR_NUMBERS * (max(ends) or 1.0))
    panel.set_yticks(middles, [_label(row.deployment, analysis) for row in rows])
    panel.set_ylim(top, 0)
    panel.tick_params(axis="y", length=0)
    panel.spines[["top", "right"]].set_visible(False)
    if not any(ends):
        panel.set_xticks([])


def _of_row(plot: Plot, kind: Kind, measurement: Measurement, key: str) -> Estimate:
    """A quantity of a deployment. A total is that of one round or pass, and has no interval: rounds differ in how many
    requests they had."""
    estimate = measurement.summary[key]
    if not plot.is_total:
        return estimate
    passes = words.passes_of(measurement) if kind.is_pass else 1.0
    return replace(estimate, value=estimate.value / passes, low=NAN, high=NAN)


def _draw_bar(
    panel: Axes, middle: float, height: float, fill: tuple[str, str], estimate: Estimate, number: str, scale: float
) -> float:
    """A bar, its interval, and its number. Returns where bar and interval end on the axis."""
    colour, pattern = fill
    value = estimate.value * scale
    panel.barh([middle], [value], height, color=colour, hatch=pattern, edgecolor="black", linewidth=0.8)
    end = value
    if estimate.has_interval:
        arms = [[value - estimate.low * scale], [estimate.high * scale - value]]
        panel.errorbar([value], [middle], xerr=arms, color="black", linewidth=1, capsize=2.5)
        end = estimate.high * scale
    part = f" {words.PART}" if estimate.is_part else ""
    _write(panel, end, middle, f"{number}{part}")
    return end


def _write(panel: Axes, x: float, y: float, text: str) -> None:
    """Text to the right of a place."""
    panel.annotate(text, (x, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)


def _label(deployment: Deployment, analysis: Analysis) -> str:
    title = textwrap.shorten(deployment.title, LONGEST_TITLE, placeholder=" ...")
    return f"{title}\n(not valid)" if analysis.validity.of(deployment.name) else title


def _note(plot: Plot, kinds: Sequence[Kind]) -> str:
    """What a reader of the plot alone has to know."""
    measured = [measurement for kind in kinds for measurement in kind.measured]
    rounds = max((len(measurement.rounds) for measurement in measured), default=0)
    said = []
    if rounds > 1:
        said.append(f"Means of up to {rounds} rounds.")
    told = (measurement.summary[series.key] for measurement in measured for series in plot.series)
    if not plot.is_total and any(estimate.is_measured and estimate.has_interval for estimate in told):
        said.append("Thin black lines are 95% intervals.")
    if plot.name == "memory" and words.is_memory_mixed(measured):
        said.append("The host process and containers are counted differently: do not compare them.")
    return " ".join(said)
