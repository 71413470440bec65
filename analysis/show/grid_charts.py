"""The charts of a grid: heat maps of a quantity over replicas and CPU limits, and the efficiency of replicas."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.judge import words
from analysis.judge.grid_words import cpus, load, way
from analysis.judge.grids import CellOfFamily, Efficiency, Load, load_of
from analysis.measure.grid import ANSWERS
from analysis.measure.quantity import QUANTITIES
from analysis.show.chart_style import GREY, empty_chart, or_none
from runfiles.grid import GridCell

SCALE = ((0.0, "#35456c"), (0.25, "#5d616e"), (0.5, "#868379"), (0.75, "#bbaf71"), (1.0, "#fee838"))
"""Plotly's Cividis without its darkest part, which a dark page hides. It is told apart with any kind of colour vision
(Nunez, Anderton and Renslow, PLOS ONE 13, 2018), and grows lighter from its first colour to its last."""
INK_ON_DARK, INK_ON_LIGHT = "#ffffff", "#14171c"
DARK_TO = 0.4
"""Numbers are light in cells up to this part of the colour scale."""
MOST_WIDE, SMALL = 6, 9
"""With more columns than these the numbers in them are as small as this (px), so that they fit on a phone."""
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""From Okabe and Ito's palette."""
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star")
DASHES = ("solid", "dash", "dot", "dashdot")
NOT_MEASURED, NOT_VALID = "\N{EN DASH}", "not<br>valid"
ROW_REM, LEAST_REM, AROUND_REM = 2.6, 5.0, 4.0
"""Heights: of a row of cells, of a small map at the least, and of what is around it."""
APART = 0.06
"""How far the marks of two lines are apart, in replicas."""

Part = tuple[Load, int]
"""What is the same in one small map: the load, and memory_mb."""


def parts_of(cells: Sequence[GridCell]) -> list[Part]:
    """The loads and memory limits of a grid, in their order: each is a small map of its own."""
    return [*dict.fromkeys((load_of(cell), cell.memory_mb) for cell in cells)]


def height_rem(cells: Sequence[GridCell]) -> float:
    """How high the heat maps of a family are."""
    rows = len({cell.cpus for cell in cells})
    return round(len(parts_of(cells)) * (max(LEAST_REM, ROW_REM * rows) + AROUND_REM), 1)


def range_of(cells: Sequence[CellOfFamily], key: str) -> tuple[float, float]:
    """The ends of the colour scale: all heat maps of a quantity share it."""
    values = [each.figures.load.summary[key].value for each in cells if _is_shown(each, key)]
    return (min(values), max(values)) if values else (0.0, 1.0)


def heat_map(
    family: Sequence[CellOfFamily], cells: Sequence[GridCell], key: str, ends: tuple[float, float], *, with_memory: bool
) -> go.Figure:
    """One quantity of a family: a small map for each load and memory limit, with replicas to the right and CPU limits
    upwards. ``cells``: those in which the family was to be measured."""
    parts = parts_of(cells)
    columns = [str(count) for count in sorted({cell.replicas for cell in cells})]
    limits = sorted({cell.cpus for cell in cells}, key=lambda limit: float("inf") if limit is None else limit)
    rows = [cpus(limit) for limit in limits]
    of_place = {(each.cell.replicas, each.cell.cpus, load_of(each.cell), each.cell.memory_mb): each for each in family}
    gap = min(0.35, 0.3 / max(1, len(parts) - 1))
    chart = make_subplots(rows=len(parts), cols=1, vertical_spacing=gap if len(parts) > 1 else 0.0)
    chart.update_layout(template={})
    for number, part in enumerate(parts, 1):
        found = [[of_place.get((int(column), limit, *part)) for column in columns] for limit in limits]
        _add_map(chart, number, columns, rows, found, key, ends)
        axis = "" if number == 1 else str(number)
        title = html.escape(part_title(part, with_memory=with_memory))
        place = {"xref": f"x{axis} domain", "yref": f"y{axis} domain", "x": 0, "y": 1}
        chart.add_annotation(**place, text=f"<b>{title}</b>", showarrow=False, xanchor="left", yanchor="bottom")
    for update, labels in ((chart.update_xaxes, columns), (chart.update_yaxes, rows)):
        ends_at = [-0.5, len(labels) - 0.5]
        update(type="category", categoryorder="array", categoryarray=labels, range=ends_at, showgrid=False)
    chart.update_xaxes(title="replicas", row=len(parts), col=1)
    return chart


def part_title(part: Part, *, with_memory: bool) -> str:
    """``8 users``, or ``8 users, 512 MiB``."""
    under, memory_mb = part
    return f"{load(under)}, {memory_mb:,} MiB each" if with_memory else load(under)


def _add_map(
    chart: go.Figure,
    number: int,
    columns: Sequence[str],
    rows: Sequence[str],
    found: Sequence[Sequence[CellOfFamily | None]],
    key: str,
    ends: tuple[float, float],
) -> None:
    shown = [[each if each is not None and _is_shown(each, key) else None for each in row] for row in found]
    chart.add_heatmap(
        x=columns,
        y=rows,
        z=[[None if each is None else or_none(each.figures.load.summary[key].value) for each in row] for row in shown],
        text=[["" if each is None else _number(each, key) for each in row] for row in shown],
        customdata=[["" if each is None else _detail(each, key) for each in row] for row in shown],
        hovertemplate="%{x} replicas, %{y}: %{text}<br>%{customdata}<extra></extra>",
        hoverongaps=False,
        colorscale=[list(step) for step in SCALE],
        zmin=ends[0],
        zmax=ends[1] if ends[1] > ends[0] else ends[0] + 1,
        xgap=3,
        ygap=3,
        showscale=False,
        row=number,
        col=1,
    )
    size: dict[str, Any] = {"size": SMALL} if len(columns) > MOST_WIDE else {}
    for upwards, own in enumerate(found):
        for place, each in enumerate(own):  # by its place: a category such as "2" would be taken for the third place
            if each is None or not _is_shown(each, key):
                said, font = NOT_MEASURED if each is None or each.is_valid else NOT_VALID, size
            else:
                height = (each.figures.load.summary[key].value - ends[0]) / ((ends[1] - ends[0]) or 1)
                said, font = _number(each, key), {"color": INK_ON_LIGHT if height > DARK_TO else INK_ON_DARK, **size}
            chart.add_annotation(x=place, y=upwards, text=said, font=font, showarrow=False, row=number, col=1)


def is_any_shown(cells: Sequence[CellOfFamily], key: str) -> bool:
    """Whether a heat map of these cells would not be empty."""
    return any(_is_shown(each, key) for each in cells)


def _is_shown(own: CellOfFamily, key: str) -> bool:
    may_be_used = own.tells_answers if key == ANSWERS else own.is_valid
    return may_be_used and own.figures.load.summary[key].is_measured


def _number(own: CellOfFamily, key: str) -> str:
    estimate = own.figures.load.summary[key]
    digits = 0 if estimate.value >= 100 else 1 if estimate.value >= 10 else QUANTITIES[key].digits
    return words.number(estimate, digits)


def _detail(own: CellOfFamily, key: str) -> str:
    estimate = own.figures.load.summary[key]
    digits = QUANTITIES[key].digits
    interval = words.interval(estimate, digits, len(own.figures.load.rounds)).replace("\n", "<br>")
    return f"{html.escape(way(own))}<br>{interval}"


def efficiency_chart(found: Sequence[Efficiency], *, with_memory: bool) -> go.Figure:
    """The efficiencies of one family against the replicas: a line for each CPU limit and load."""
    chart = empty_chart()
    lines: dict[str, list[Efficiency]] = {}
    for each in found:
        if each.efficiency.is_measured:
            lines.setdefault(_line_title(each.subject.cell, with_memory=with_memory), []).append(each)
    for number, (title, own) in enumerate(lines.items()):
        points = sorted(own, key=lambda each: each.replicas)
        shift = APART * (number - (len(lines) - 1) / 2)
        colour = LINES[number % len(LINES)]
        chart.add_scatter(
            name=html.escape(title),
            x=[round(each.replicas + shift, 4) for each in points],
            y=[or_none(each.efficiency.value) for each in points],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [_arm(each, upwards=True) for each in points],
                "arrayminus": [_arm(each, upwards=False) for each in points],
                "thickness": 1.5,
                "color": colour,
            },
            mode="lines+markers",
            line={"color": colour, "dash": DASHES[number // len(LINES) % len(DASHES)], "width": 1.5},
            marker={"color": colour, "size": 9, "symbol": SYMBOLS[number % len(SYMBOLS)]},
            customdata=[[each.replicas, f"{each.efficiency.n} rounds"] for each in points],
            hovertemplate="%{fullData.name}, %{customdata[0]} replicas: %{y:.3f}<br>%{customdata[1]}<extra></extra>",
            showlegend=True,
        )
    chart.add_hline(y=1, line={"dash": "dash", "color": GREY})
    counts = sorted({each.replicas for own in lines.values() for each in own})
    chart.update_xaxes(title="replicas", tickvals=counts, range=[counts[0] - 0.5, counts[-1] + 0.5], showgrid=False)
    chart.update_yaxes(title="efficiency", rangemode="tozero")
    return chart


def _line_title(cell: GridCell, *, with_memory: bool) -> str:
    memory = f", {cell.memory_mb:,} MiB" if with_memory else ""
    return f"{cpus(cell.cpus)}{memory}, {load(load_of(cell))}"


def _arm(found: Efficiency, *, upwards: bool) -> float | str:
    """One arm of an interval. Plotly does not draw text."""
    own = found.efficiency
    if not own.has_interval:
        return "none"
    return round(own.high - own.value if upwards else own.value - own.low, 6)


def families(cells: Sequence[CellOfFamily]) -> Mapping[str, list[CellOfFamily]]:
    """The cells of each family, in their order."""
    found: dict[str, list[CellOfFamily]] = {}
    for each in cells:
        found.setdefault(each.family, []).append(each)
    return found
