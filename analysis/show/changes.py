"""The section of planned changes: a timeline of each deployment, and a table with a row for each change."""

from __future__ import annotations

import math

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.changes import DIGITS, RUN_END, effect_anchor, name_of, until
from analysis.judge.doubts import LONGEST_QUOTE
from analysis.measure.effects import Drawn, Effect, Figure, drawn_of
from analysis.measure.new_replicas import ALONE, NO_NEW_REPLICA
from analysis.measure.recovery import HOLD_S, HOLD_SHARE
from analysis.measure.spans import BEFORE_S
from analysis.show.cards import cards
from analysis.show.change_chart import timeline_chart
from analysis.show.chart_style import plot_of
from analysis.show.elements import Cell, Chart, Column, Row, Section, Table

TITLE = "What a change does"
HOW_TO_READ = (
    "The deployments, or their load, were changed while the load went on. Times count from the begin of a change, also "
    "of one that lasts, such as a pause or a spike. A change counts until the next one, or until the end of the run. "
    "Response times, CPU, memory and network of the whole load would mix before and after, so this page does not show "
    "them, and gives no verdict on them."
)
HOW_CHART_IS_READ = (
    "Above: requests that were answered (plain) and that failed (striped) in each second. In the middle: median "
    "(solid) and p95 (dotted) of the answers to the requests of each second. Below: when each replica was there, as "
    "the monitor noticed it; a thin bar was started during the load, a cross is an end. Upright lines are the changes. "
    "Shaded: until errors had ended and the median was as before."
)
HOW_NEXT_CHART_IS_READ = "It is read as the first chart."
HOW_ROUND_IS_CHOSEN = "Of several rounds the median one is drawn, by when errors ended."
HOW_TABLE_IS_READ = (
    "Lost: requests that failed or got no answer, of all rounds together. Times are means of the rounds in which it "
    "came to pass, with their 95% intervals; fewer than three such rounds give none. Errors end: at the first request "
    f"after which none fails. Latency: the first second from which on the median is as in the {BEFORE_S} s before, for "
    f"{HOLD_S} s in a row, then never above for {HOLD_S} s in a row until the end, and in {HOLD_SHARE:.0%} of these "
    "seconds. As before: at most 10% above the mean of the medians of the seconds before, or within the range in which "
    "one more of them lies with 95%, if that is wider. "
    "Extra waiting: what requests that were slower than 99% of those before waited beyond the median before, all "
    "together in a round; about 1% of the requests is so slow by chance. Fair share: 90% of 1/(number of replicas) of "
    "the answers of a second."
)
TIME_COLUMNS = {
    "errors_end_s": "Errors end after",
    "silent_s": "Longest time without an answer",
    "latency_back_s": "Latency as before after",
    "extra_s": "Extra waiting",
    "first_answer_s": "New replica answers first after",
    "fair_share_s": "New replicas have a fair share after",
}
AT_ONCE = "0 s"
NOTHING = {"errors_end_s": "no errors", "latency_back_s": "stayed as before", "extra_s": "none"}
"""What is said of a time that was 0 in all rounds."""
HEIGHT_REM = 34.0
"""Of a timeline, which has three parts."""
NO_QUESTION = {NO_NEW_REPLICA: "none", ALONE: "only one replica"}
"""Why a time was not asked for -> what is said instead of it."""
MOST_ERRORS = 3
"""So many kinds of errors are named."""


def changes_section(analysis: Analysis) -> Section:
    """The whole section, with the cards of the deployments; empty if the plan has no changes. The page adds the
    findings."""
    if not analysis.results.has_changes:
        return Section("changes", TITLE, TITLE)
    charts = tuple(_chart(drawn, is_first=place == 0) for place, drawn in enumerate(drawn_of(analysis.effects)))
    tables = (changes_table(analysis),) if analysis.effects else ()
    return Section("changes", TITLE, TITLE, HOW_TO_READ, cards=cards(analysis), charts=charts, tables=tables)


def _chart(drawn: Drawn, *, is_first: bool) -> Chart:
    rounds = len(drawn.measurement.rounds)
    which = f", round {drawn.number} of {rounds}" if rounds > 1 else ""
    said = f"{HOW_CHART_IS_READ} {HOW_ROUND_IS_CHOSEN}" if rounds > 1 else HOW_CHART_IS_READ
    return Chart(
        f"timeline-{drawn.measurement.name}",
        f"{drawn.measurement.title}{which}",
        said if is_first else HOW_NEXT_CHART_IS_READ,
        plot_of(timeline_chart(drawn)),
        HEIGHT_REM,
        is_wide=True,
    )


def changes_table(analysis: Analysis) -> Table:
    """A row for each change of each deployment."""
    columns = (
        Column("Change"),
        Column("Lost", detail="of the requests"),
        *(Column(title) for title in TIME_COLUMNS.values()),
    )
    rows = tuple(_row(effect, analysis) for effect in analysis.effects)
    heading = "Each change of each deployment"
    return Table(heading, heading, columns, rows, HOW_TABLE_IS_READ, "changes-table")


def _row(effect: Effect, analysis: Analysis) -> Row:
    number = f"{effect.number}. " if len(analysis.results.experiment.plan.changes) > 1 else ""
    rounds = len(effect.rounds)
    said = [f"at {effect.planned.at_s:g} s", f"{rounds} round{'s' if rounds > 1 else ''}"]
    said += ["not valid"] if analysis.validity.of(effect.name) else []
    cells = (_lost(effect), *(_time(effect, key) for key in TIME_COLUMNS))
    title = f"{effect.title}: {number}{name_of(effect.planned)}"
    return Row(title, cells, effect_anchor(effect), ", ".join(said))


def _lost(effect: Effect) -> Cell:
    """How many requests were lost, and how."""
    said = [f"{count:,}: {_short(error)}" for error, count in effect.errors[:MOST_ERRORS]]
    said += [f"{len(effect.errors) - MOST_ERRORS:,} more kinds of errors"] if len(effect.errors) > MOST_ERRORS else []
    kinds = {
        "over_bound": "not sent, as too many waited",
        "unanswered": "unanswered when the run ended",
        "dropped": "not sent by the load generator (not counted as lost)",
    }
    said += [f"{count:,}: {what}" for key, what in kinds.items() if (count := effect.unsent(key))]
    if retried := effect.total("retried"):
        said.append(f"{retried:,}: sent again over a new connection (not counted as lost)")
    return Cell(f"{effect.total('lost'):,} of {effect.total('requests'):,}", "\n".join(said))


def _short(error: str) -> str:
    return error if len(error) <= LONGEST_QUOTE else f"{error[:LONGEST_QUOTE]} ..."


def _time(effect: Effect, key: str) -> Cell:
    figure = effect.figure(key)
    text, detail = time_in_words(effect, figure, until_end=key == "silent_s")
    text = NOTHING.get(key, text) if text == AT_ONCE else text
    said = [detail] if detail else []
    if key == "extra_s" and figure.asked:
        said.append(f"{effect.total('slowed'):,} slowed requests")
    if key == "latency_back_s" and not math.isnan(effect.latency_limit_ms):
        said.append(f"as before: up to {effect.latency_limit_ms:,.2f} ms")
    if key == "fair_share_s" and figure.asked and effect.total("kept"):
        kept, reached = effect.total("kept"), effect.total("reached")
        said.append(f"kept connections: {reached:,} of {kept:,} answers came from new replicas")
    return Cell(text, "\n".join(said))


def time_in_words(effect: Effect, figure: Figure, *, until_end: bool) -> tuple[str, str]:
    """A time and the small text below: its interval, and in how many rounds it did not come to pass. ``until_end``:
    that it never ended is said, and not that it never came."""
    estimate = figure.estimate
    is_last = until(effect) == RUN_END
    never = "not within the run" if is_last else "not before the next change"
    never = f"until {until(effect)}" if until_end else never
    if not figure.asked:
        reason = estimate.missing or ""
        return (NO_QUESTION[reason], "") if reason in NO_QUESTION else ("not measured", reason)
    if not estimate.is_measured:
        return never, f"in {figure.never} of {figure.asked} rounds" if figure.asked > 1 else ""
    if not estimate.value and not figure.never:
        return AT_ONCE, ""
    said = [words.low_to_high(estimate, DIGITS)]
    said += [f"{never} in {figure.never} of {figure.asked} rounds"] if figure.never else []
    return f"{words.number(estimate, DIGITS)} s", "\n".join(filter(None, said))
