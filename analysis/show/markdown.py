"""The page's words and figures as Markdown: for a pull request, or the hand-in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.analyse import Analysis
from analysis.judge import findings, words
from analysis.measure.quantity import QUANTITIES, Estimate, Quantity
from analysis.measure.rounds import Measurement
from analysis.show import changes, facts, nodes, search, staircase
from analysis.show.cards import cards
from analysis.show.elements import Card, Cell, Column, Row, Table
from analysis.show.hand_in import HOW_TO_READ, about_intervals, hand_in_tables
from analysis.show.layout_facts import layout_facts
from runfiles.lines import printable

LINE = "\n"


def render_markdown(analysis: Analysis) -> str:
    """Validity, verdicts, findings and all figures. Texts from outside can't become Markdown or HTML of their own."""
    lines = [
        *_head(analysis),
        *_invalid(analysis),
        *_key_figures(analysis),
        *_verdicts(analysis),
        *_staircase(analysis),
        *_search(analysis),
        *_changes(analysis),
        *_caveats(analysis),
        *_hand_in(analysis),
        *_findings(analysis),
        *_nodes(analysis),
        *_figures("Under load", analysis.loads),
        *_figures("Single pass", analysis.passes),
        *_layout(analysis),
    ]
    return "\n".join(lines) + "\n"


def _head(analysis: Analysis) -> list[str]:
    results = analysis.results
    who = f"{safe(facts.load_in_words(results))} ({safe(facts.users(results))})"
    command = code(facts.command(results))
    service = f"Service: {safe(told)}. " if (told := facts.service(results)) else ""
    lines = [f"# Fourfold, {facts.time_of_start(results)}", ""]
    for text in (analysis.headline[0], " ".join(analysis.headline[1:]), results.note):
        lines += [safe(text), ""] if text else []
    return [*lines, f"{service}{who}, {facts.rounds(analysis)}, `{command}`"]


def _invalid(analysis: Analysis) -> list[str]:
    if analysis.validity.is_valid:
        return []
    reasons = [f"- **{doubt.title}**: {safe(doubt.text)}" for doubt in analysis.validity.invalid]
    return ["", "**This experiment is not valid.**", "", *reasons]


def _key_figures(analysis: Analysis) -> list[str]:
    """The page's cards, a row each: also why a deployment was not measured."""
    head = ["", "## Key figures, under load", "", "| deployment | figures |", "|---|---|"]
    return [*head, *(_card_row(card) for card in cards(analysis))]


def _card_row(card: Card) -> str:
    parts = [f"**{safe(value.text)}** {safe(value.detail.replace(LINE, ', '))}" for value in card.values]
    parts += [safe(card.counts.replace(LINE, "; "))] if card.counts else []
    return f"| {safe(card.title)} | {'<br>'.join(parts)} |"


def _verdicts(analysis: Analysis) -> list[str]:
    rows = []
    for verdict in analysis.verdicts:
        ratio, said = words.ratio(verdict) or "not shown", safe(words.verdict(verdict))
        rows.append(f"| {safe(words.pair(verdict))} | {QUANTITIES[verdict.key].title} | {ratio} | {said} |")
    head = [
        "",
        "## Verdicts",
        "",
        "| pair | quantity | ratio, round by round (95% interval) | verdict |",
        "|---|---|---|---|",
    ]
    return [*head, *rows] if rows else []


def _staircase(analysis: Analysis) -> list[str]:
    """What each deployment answered at each rate."""
    if not analysis.staircases:
        return []
    return [
        "",
        f"## {staircase.TITLE}",
        "",
        safe(staircase.HOW_TO_READ),
        *table_lines(staircase.staircase_table(analysis.staircases)),
    ]


def _search(analysis: Analysis) -> list[str]:
    """How much each deployment carries."""
    if not analysis.searches:
        return []
    section = search.search_section(analysis)
    lines = [line for table in section.tables for line in table_lines(table)]
    return ["", f"## {section.title}", "", safe(section.how_to_read), *lines]


def _changes(analysis: Analysis) -> list[str]:
    """What each change did to each deployment."""
    if not analysis.results.has_changes or not analysis.loads:
        return []
    return [
        "",
        f"## {changes.TITLE}",
        "",
        safe(changes.HOW_TO_READ),
        *table_lines(changes.changes_table(analysis)),
    ]


def _hand_in(analysis: Analysis) -> list[str]:
    """The figures that docker stats shows, for the load and for the single pass."""
    tables = hand_in_tables(analysis)
    if not tables:
        return []
    how_to_read = f"{safe(HOW_TO_READ)} {about_intervals(analysis, 'Two numbers in brackets are a 95% interval.')}"
    lines = [line for table in tables for line in table_lines(table)]
    return ["", "## Figures to hand in", "", how_to_read, *lines]


def table_lines(table: Table) -> list[str]:
    """A table of the page: what is small print there stands in brackets."""
    head = " | ".join(_with_detail(column) for column in table.columns)
    rows = [f"| {' | '.join([_with_detail(row), *(_with_detail(cell) for cell in row.cells)])} |" for row in table.rows]
    below = ["", safe(table.how_to_read)] if table.how_to_read else []
    return ["", f"### {table.heading}", "", f"| {head} |", "|---" * len(table.columns) + "|", *rows, *below]


def _with_detail(part: Cell | Column | Row) -> str:
    text = part.text if isinstance(part, Cell) else part.title
    return safe(f"{text} ({part.detail.replace(LINE, ', ')})" if part.detail else text)


def _findings(analysis: Analysis) -> list[str]:
    paragraphs = [f"- **{finding.title}.** {safe(finding.text)}" for finding in analysis.findings]
    how_to_read = safe(findings.how_to_read(analysis.loads))
    return ["", "## Findings", "", how_to_read, "", *paragraphs] if paragraphs else []


def _nodes(analysis: Analysis) -> list[str]:
    """What each node did, of deployments that ran on several."""
    lines = [line for each in analysis.nodes for table in nodes.nodes_tables(each) for line in table_lines(table)]
    return ["", f"## {nodes.TITLE}", "", safe(nodes.HOW_TO_READ), *lines] if lines else []


def _figures(heading: str, measured: Sequence[Measurement]) -> list[str]:
    """A table of all figures, and below it why some are missing."""
    if not measured:
        return []
    titles = " | ".join(safe(measurement.title) for measurement in measured)
    quantities = words.rows_of(measured)
    rows = [_row(quantity, measured) for quantity in quantities]
    missing = _missing(quantities, measured)
    if words.is_memory_mixed(measured):
        missing = [safe(words.MEMORY_FOOTNOTE), "", *missing]
    head = ["", f"## {heading}", "", f"| quantity | {titles} |", "|---" * (len(measured) + 1) + "|"]
    return [*head, *rows, *(["", *missing] if missing else [])]


def _row(quantity: Quantity, measured: Sequence[Measurement]) -> str:
    cells = (_cell(measurement.summary[quantity.key], quantity.digits) for measurement in measured)
    return f"| {safe(words.row_title(quantity, measured))} | {' | '.join(cells)} |"


def _missing(quantities: Sequence[Quantity], measured: Sequence[Measurement]) -> list[str]:
    """Why figures are missing: each reason once for each quantity, with the deployments."""
    titles: dict[tuple[str, str], list[str]] = {}
    for quantity in quantities:
        for measurement in measured:
            estimate = measurement.summary[quantity.key]
            if not estimate.is_measured:
                titles.setdefault((quantity.title, words.why_missing(estimate)), []).append(measurement.title)
    return [f"- {title} ({safe('; '.join(who))}): {safe(why)}" for (title, why), who in titles.items()]


def _caveats(analysis: Analysis) -> list[str]:
    rows = [f"- {safe(doubt.text)}" for doubt in analysis.validity.caveats]
    return ["", "## Caveats", "", *rows] if rows else []


def _layout(analysis: Analysis) -> list[str]:
    """How the load came to the deployments."""
    rows = [f"- **{fact.term}**: {safe(fact.text)}" for fact in layout_facts(analysis)] if analysis.loads else []
    return ["", "## How the load came", "", *rows] if rows else []


def safe(text: str) -> str:
    """Text on one line in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#&!~])", r"\\\1", printable(text))


def code(text: str) -> str:
    """Text on one line that can stand between backticks, also in a table."""
    return printable(text).replace("`", "'").replace("|", "\\|")


def _cell(estimate: Estimate, digits: int) -> str:
    text = words.number(estimate, digits)
    if estimate.has_interval:
        text += f" ({words.low_to_high(estimate, digits)})"
    return f"{text}, {words.PART}" if estimate.is_part and estimate.is_measured else text
