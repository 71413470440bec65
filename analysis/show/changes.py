"""The section of planned changes: a timeline of each deployment, and a table with a row for each change."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.changes import DIGITS, RUN_END, effect_anchor, name_of, seconds, until, why_not_made
from analysis.judge.doubts import LONGEST_QUOTE
from analysis.measure.effects import Drawn, Effect, Figure, drawn_of
from analysis.measure.new_replicas import ALONE, NO_NEW_REPLICA
from analysis.measure.recovery import HOLD_S, HOLD_SHARE
from analysis.measure.rounds import Measurement
from analysis.measure.spans import BEFORE_S
from analysis.show.cards import cards
from analysis.show.change_chart import timeline_chart
from analysis.show.chart_style import plot_of
from analysis.show.elements import Cell, Chart, Column, Row, Section, Table
from runfiles.records import ChangeRecord

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
    "Shaded: until requests were served again and the median was as before."
)
HOW_NEXT_CHART_IS_READ = "It is read as the first chart."
HOW_ROUND_IS_CHOSEN = "Of several rounds the median one is drawn, by when requests were served again."
HOW_TABLE_BEGINS = (
    "Lost: requests that failed or got no answer, of all rounds together. Times are means of the rounds in which it "
    "came to pass, with their 95% intervals; fewer than three such rounds give none. Last failed "
    "request: when it was due. Served again: the first answer after it, and after a time without any answer. Latency: "
    "the first second from which on the median is as in the "
)
HOW_TABLE_GOES_ON = (
    f" before, for {HOLD_S} s in a row, then never above for {HOLD_S} s in a row until the end, and in "
    f"{HOLD_SHARE:.0%} of these seconds. As before: at most 10% above the mean of the medians of the seconds before, "
    "or within the range in which one more of them lies with 95%, if that is wider. "
    "Extra waiting: what requests that were slower than 99% of those before waited beyond the median before, all "
    "together in a round; about 1% of the requests is so slow by chance. Fair share: 90% of 1/(number of replicas) of "
    "the answers of a second."
)
TIME_COLUMNS = {
    "last_failed_s": "Last failed request after",
    "silent_s": "Longest time without an answer",
    "latency_back_s": "Latency as before after",
    "extra_s": "Extra waiting",
    "first_answer_s": "New replica answers first after",
    "fair_share_s": "New replicas have a fair share after",
}
WORDS = "words"
"""The style of a cell that holds words: its text may break."""
AT_ONCE = "0 s"
NOTHING = {"last_failed_s": "no errors", "latency_back_s": "stayed as before", "extra_s": "none"}
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
    tables = (changes_table(analysis),) if analysis.loads else ()
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
    effects = {(effect.name, effect.number): effect for effect in analysis.effects}
    planned = analysis.results.experiment.plan.changes
    rows = []
    for load in analysis.loads:
        for number, change in enumerate(planned, 1):
            effect = effects.get((load.name, number))
            rows.append(_row(effect, analysis) if effect else _not_made(load, number, change))
    heading = "Each change of each deployment"
    how_to_read = f"{HOW_TABLE_BEGINS}{_before(analysis.effects)}{HOW_TABLE_GOES_ON}"
    return Table(heading, heading, columns, tuple(rows), how_to_read, "changes-table", is_dense=True)


def _before(effects: Sequence[Effect]) -> str:
    """With how many seconds the changes are compared: ``8 s``, or ``2 to 20 s``."""
    each = {recovery.before_s for effect in effects for recovery in effect.rounds.values()} or {BEFORE_S}
    return f"{min(each)} s" if len(each) == 1 else f"{min(each)} to {max(each)} s"


def _not_made(load: Measurement, number: int, planned: ChangeRecord) -> Row:
    """The row of a change that was made in no round."""
    why = next(iter(why_not_made(load, number).values()), "there is no record of it")
    cells = (Cell("not made", why, style=WORDS), *(Cell("") for _ in TIME_COLUMNS))
    return Row(f"{load.title}: {number}. {name_of(planned)}", cells, detail=f"at {planned.at_s:g} s")


def _row(effect: Effect, analysis: Analysis) -> Row:
    number = f"{effect.number}. " if effect.of > 1 else ""
    rounds = len(effect.rounds)
    said = [f"at {effect.planned.at_s:g} s", f"{rounds} round{'s' if rounds > 1 else ''}"]
    said += ["not valid"] if analysis.validity.of(effect.name) else []
    not_made = why_not_made(effect.measurement, effect.number)
    said += [f"not made in round {own}: {why}" for own, why in not_made.items()]
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
        "cut_off": "under way when the run ended (not counted)",
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
    is_failed_at_once = key == "last_failed_s" and effect.total("lost")
    text = NOTHING.get(key, text) if text == AT_ONCE and not is_failed_at_once else text
    said = [detail] if detail else []
    again = effect.figure("served_again_s").estimate
    if key == "last_failed_s" and again.is_measured and again.value:
        said.append(f"served again after {seconds(again)}")
    if key == "extra_s" and figure.asked:
        said.append(f"{effect.total('slowed'):,} slowed requests")
    if key == "latency_back_s" and not math.isnan(effect.latency_limit_ms):
        said.append(f"as before: up to {effect.latency_limit_ms:,.2f} ms")
    if key == "fair_share_s" and figure.asked and effect.total("kept"):
        kept, reached = effect.total("kept"), effect.total("reached")
        said.append(f"kept connections: {reached:,} of {kept:,} answers came from new replicas")
    return Cell(text, "\n".join(said), style="" if figure.estimate.is_measured else WORDS)


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
