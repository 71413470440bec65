"""The section of a staircase: its charts, and a table with a row for each rate of each deployment."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.judge import words
from analysis.judge.doubts import LONGEST_QUOTE
from analysis.judge.staircases import rate, share, step_anchor
from analysis.measure.quantity import QUANTITIES, Estimate
from analysis.measure.steps import ANSWERED, LEAST_ABOVE, NOT_KEPT, OVERLOADED, Staircase, Step
from analysis.show import step_charts
from analysis.show.chart_style import plot_of
from analysis.show.elements import Cell, Chart, Column, Row, Section, Table

TITLE = "Rising rates (staircase)"
HOW_TO_READ = (
    "Requests were due at a rate, whether or not earlier ones were answered. The rate rose from step to step, until "
    "the deployment was overloaded. Times count from when a request was due, so they contain all of its wait. "
    "Response times, answers per second and CPU over all rates together would say little. So this page shows them "
    "at each rate only, and gives no verdict on them. Compare deployments at equal rates."
)
HOW_TABLE_IS_READ = (
    "A rate is answered if at least 99% of its requests were answered without an error and the queue did not grow. "
    "The queue is the number of requests that wait for their answer. It grew if at the end of the step it was longer "
    "by more than 1% of the requests, and if it rose steadily (Kendall's tau over the tenths of the step, p < 0.001). "
    "The number in its column is its length at the end minus that at the beginning. Below 0 it became shorter, and "
    "then response times fall too: more requests waited as the step began, such as before a service refuses some. "
    "Not known: the load generator sent more than 1% of the requests more than 10 ms late, or not at all. That says "
    "nothing of the deployment, so such a step is looked over. Others: other programs or the hypervisor took more than "
    "30% of a core (100% is a core). Percentiles and answers per second are means over the "
    "rounds, with their 95% intervals. A request that failed or had no answer counts as slower than all others. So a "
    "percentile is not shown if in one round too many did. It is shown if at least "
    f"{LEAST_ABOVE} requests of all rounds together were slower."
)
STATES = {ANSWERED: "answered", OVERLOADED: "overloaded", NOT_KEPT: "not known: load generator late"}
HOW_MARKS_ARE_READ = (
    "The ring is around the highest rate that was answered in most rounds. Full marks: answered. Open marks: the "
    "deployment was overloaded. Crosses (x): not known, because the load generator was late."
)
PERCENTILES = ("median_ms", "p95_ms", "p99_ms")


def staircase_section(staircases: Sequence[Staircase]) -> Section:
    """The whole section; empty without a staircase."""
    if not staircases:
        return Section("staircase", TITLE, TITLE)
    is_wide = step_charts.is_wide(staircases)
    axes = "Both axes are logarithmic; a step without any answer is not drawn. " if is_wide else ""
    charts = (
        Chart(
            "staircase-times",
            "Response times at each rate",
            "Median (solid), p95 (dotted) and p99 (dashed). Lower is better. A line that turns up steeply shows that "
            f"requests wait for each other. {HOW_MARKS_ARE_READ} Both axes are logarithmic. A thin line on a mark is "
            "the 95% interval; one that goes down to the axis reaches 0.",
            plot_of(step_charts.response_times(staircases)),
        ),
        Chart(
            "staircase-answers",
            "Answers per second at each rate",
            "On the dashed line all requests are answered as fast as they are due. A deployment that is overloaded "
            "falls below it: it gives no more answers, however many are asked for. Ring and marks are as in the other "
            f"chart. {axes}A thin line on a mark is the 95% interval.",
            plot_of(step_charts.answers(staircases)),
        ),
    )
    return Section("staircase", TITLE, TITLE, HOW_TO_READ, charts=charts, tables=(staircase_table(staircases),))


def staircase_table(staircases: Sequence[Staircase]) -> Table:
    """A row for each rate of each deployment."""
    columns = (
        Column("Rate", detail="requests due per second"),
        Column("Result"),
        Column("Answered"),
        Column("Load generator", detail="sent late, or not at all"),
        Column("Answers per second"),
        Column("Median"),
        Column("p95"),
        Column("p99"),
        Column("Queue", detail="requests, per round"),
    )
    rows = tuple(_row(staircase, step) for staircase in staircases for step in staircase.steps)
    heading = "Each rate of each deployment"
    return Table(heading, heading, columns, rows, HOW_TABLE_IS_READ, "staircase-table", is_dense=True)


def _row(staircase: Staircase, step: Step) -> Row:
    rounds = len(step.rounds)
    agreeing = f"in {step.rounds_in(step.state)} of {rounds} round{'s' if rounds > 1 else ''}"
    is_knee = step.rate_per_s == staircase.knee_per_s
    others = step.others
    said = [f"{agreeing}{', the highest' if is_knee else ''}"]
    if others.disturbed:
        where = f"{others.disturbed} round{'s' if others.disturbed > 1 else ''}"
        said.append(f"others: up to {others.most_percent:.0f}% CPU in {where}")
    due = f"{step.total('answered'):,} of {step.total('due'):,} due"
    cells = (
        Cell(STATES[step.state], "\n".join(said), style="verdict none"),
        Cell(share(step.share("answered")), "\n".join([due, *_lost(step)])),
        Cell(share(step.share("behind")), "\n".join(_behind(step))),
        _cell(step.estimates["throughput_per_s"], QUANTITIES["throughput_per_s"].digits, ""),
        *(_cell(step.estimates[key], QUANTITIES[key].digits, " ms") for key in PERCENTILES),
        Cell(f"{step.total('growth') / rounds:+,.0f}", _within(step)),
    )
    return Row(f"{staircase.title}, {rate(step.rate_per_s)}/s", cells, step_anchor(staircase.name, step))


def _cell(estimate: Estimate, digits: int, unit: str) -> Cell:
    """Without n: it is in the column of the answered requests."""
    text = words.number(estimate, digits)
    if not estimate.is_measured:
        return Cell(text, estimate.missing or "")
    return Cell(f"{text}{unit}", words.low_to_high(estimate, digits))


def _within(step: Step) -> str:
    """In how many rounds the queue grew, and response times rose or fell, within the step; nothing if in none."""
    growing = sum(own.is_growing for own in step.rounds.values())
    rounds = f"{len(step.rounds)} round{'s' if len(step.rounds) > 1 else ''}"
    said = [f"grew in {growing} of {rounds}"] if growing else []
    if drifts := step.drifts:
        way = "rose" if sum(drift > 0 for drift in drifts) * 2 >= len(drifts) else "fell"
        said.append(f"response times {way} in {len(drifts)} of {rounds}")
    return "\n".join(said)


def _lost(step: Step) -> list[str]:
    """What became of the requests that the deployment did not answer, each kind that there is."""
    error = f" (the first: {step.first_error[:LONGEST_QUOTE]})" if step.first_error else ""
    kinds = {
        "failed": f"failed{error}",
        "over_bound": "not sent, as too many waited",
        "unanswered": "given up",
    }
    return [f"{step.total(name):,} {what}" for name, what in kinds.items() if step.total(name)]


def _behind(step: Step) -> list[str]:
    """What the load generator did not send when it was due."""
    kinds = {"late": "late", "dropped": "not sent"}
    return [f"{step.total(name):,} {what}" for name, what in kinds.items() if step.total(name)]
