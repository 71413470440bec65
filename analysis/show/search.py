"""The section of a search for the capacity: its chart, and a table with a row for each deployment."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.capacities import carried, limit_of_generator, low_to_high, search_anchor
from analysis.judge.verdicts import Verdict, against_first
from analysis.measure.searches import Search
from analysis.show import search_chart
from analysis.show.chart_style import plot_of
from analysis.show.elements import Cell, Chart, Column, Row, Section, Table

TITLE = "Capacity"
HOW_TO_READ = (
    "The capacity is the highest rate of requests at which the objective is met: {objective}. Requests were due at a "
    "rate, whether or not earlier ones were answered, and times count from when a request was due. In each round the "
    "rate of each deployment went up and down around its limit, step by step. A curve through these steps tells the "
    "limit. Response times, answers per second and CPU over all rates together would say little, so this page does "
    "not show them."
)
HOW_CHART_IS_READ = (
    "Each point is a step: the share of its requests that missed {condition}. A request without an answer has missed "
    "it. On the dashed line just as many missed it as may. The large mark on the line is the capacity; its bar is the "
    "95% interval. Points at the upper edge are higher still. Open points do not count: there the load generator did "
    "not keep the rate. The axis of the rate is logarithmic and shows what is near the limits."
)
HOW_TABLE_IS_READ = (
    "From three rounds on, the interval comes from how the capacities of the rounds differ, and with fewer from how "
    "the steps differ. Then it does not contain how much two starts of a deployment differ. Steps near the limit are "
    "those that the curve goes through. A step does not count if the load generator sent more than 1% of its requests "
    "more than 10 ms late, or not at all."
)

NOT_VALID = "not valid: other programs took the CPU"


def search_section(analysis: Analysis) -> Section:
    """The whole section; empty if the capacity was not searched."""
    searches = analysis.searches
    if not searches:
        return Section("capacity", TITLE, TITLE)
    how_to_read = HOW_TO_READ.format(objective=searches[0].objective)
    return Section(
        "capacity", TITLE, TITLE, how_to_read, charts=tuple(_charts(searches)), tables=(search_table(analysis),)
    )


def _charts(searches: Sequence[Search]) -> list[Chart]:
    """A chart of each condition that limits a deployment; if none does, of the first."""
    conditions = searches[0].objective.conditions
    limiting = [search.limiting for search in searches]
    places = [place for place, condition in enumerate(conditions) if condition in limiting] or [0]
    return [
        Chart(
            f"capacity-missed-{place}",
            f"How many requests missed {conditions[place].text} at each rate",
            HOW_CHART_IS_READ.format(condition=conditions[place].text),
            plot_of(search_chart.missed(searches, place)),
        )
        for place in places
    ]


def search_table(analysis: Analysis) -> Table:
    """The capacity of each deployment, from how many steps it comes, and how it compares."""
    columns = [Column("Run as"), Column("Capacity"), Column("Limited by"), Column("Steps"), Column("Not counted")]
    compared = against_first(analysis.verdicts)
    if compared:
        columns.append(Column("Ratio", detail="capacity over that of another deployment"))
    rows = tuple(_row(search, compared) for search in analysis.searches)
    heading = f"Capacity at {analysis.searches[0].objective}"
    return Table(heading, heading, tuple(columns), rows, HOW_TABLE_IS_READ, "capacity-table")


def _row(search: Search, compared: dict[str, Verdict]) -> Row:
    capacity = search.capacity
    count = len(search.rounds)
    rounds = f"{count} round{'s' if count != 1 else ''}"
    if capacity.is_measured:
        interval = low_to_high(capacity)
        said = [f"95% interval {interval}"] if interval else []
        found = Cell(carried(capacity), "\n".join([*said, *([NOT_VALID] if search.disturbance else [])]))
        steps = Cell(f"{capacity.n:,} {capacity.which}", f"of {len(search.steps):,} in {rounds}")
    else:
        found = Cell(carried(capacity), capacity.missing or "")
        steps = Cell(f"{len(search.steps):,}", f"in {rounds}")
    cells = [
        found,
        Cell(search.limiting.text if search.limiting else "no limit found"),
        steps,
        Cell(f"{len(search.behind):,}", limit_of_generator(search)),
    ]
    if compared:
        cells.append(_ratio(compared.get(search.name)))
    return Row(search.title, tuple(cells), search_anchor(search.name))


def _ratio(verdict: Verdict | None) -> Cell:
    if verdict is None:
        return Cell("")
    over = f"over {words.named(verdict.baseline)}"
    return Cell(words.ratio(verdict) or "not shown", f"{over}\n{words.verdict(verdict)}")
