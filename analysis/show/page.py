"""One self-contained HTML page: verdicts, caveats, charts, all figures, and what was run."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.doubts import Validity
from analysis.judge.findings import Finding, how_to_read
from analysis.read.results import Results
from analysis.show import facts, replica_sections, sections
from analysis.show.cards import cards
from analysis.show.changes import changes_section
from analysis.show.elements import Caveat, CaveatList, Page, Paragraph, Section, Words
from analysis.show.hand_in import HOW_TO_READ, about_intervals, hand_in_tables
from analysis.show.nodes import nodes_section
from analysis.show.search import search_section
from analysis.show.staircase import staircase_section
from analysis.show.tables import figure_tables, pair_tables
from runfiles.lines import visible

HEADING = "What it costs to run one inference service in different ways"
HOW_CARDS_ARE_READ = (
    "Each number is the mean of the values of the rounds. Its 95% interval says how far it may be off by chance; it is "
    "computed from how the rounds differ. Fewer than three rounds give no interval."
)
HOW_CARDS_OF_RATES_ARE_READ = (
    "Each card has the highest rate that the deployment answered in most rounds, and the response times at that rate. "
    "They are means of the values of the rounds, with their 95% intervals. Fewer than three rounds give no interval."
)
HOW_CARDS_OF_CAPACITIES_ARE_READ = (
    "Each card has the capacity of the deployment: the highest rate of requests at which it meets the objective. Its "
    "95% interval says how far it may be off by chance."
)
NOT_VALID = "This experiment is not valid: the numbers of the deployments that are named here must not be used."
HOW_FIGURES_ARE_READ = (
    "Each value is the mean of the values of the rounds; rows with 'all rounds' are sums. Below a value are its 95% "
    "interval and the number n that it was computed from; below the name of a row is what n counts. If a number "
    "can't be negative, its interval is cut off at 0. Requests are counted when they are sent, answers when they come, "
    "and answers per second in whole seconds. So n can differ from the number of requests, although none was lost. For "
    "CPU, 100% is one core."
)


def render(analysis: Analysis) -> str:
    """The page of an experiment as HTML."""
    return render_page(page(analysis))


def render_page(content: Page) -> str:
    """A page as HTML, with plotly.js in it, so that it opens without a network."""
    environment = Environment(
        loader=PackageLoader("analysis.show", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.policies["json.dumps_function"] = _visible_json
    plotly = Markup(get_plotlyjs().replace("</script", "<\\/script"))  # noqa: S704 - no text from outside
    return environment.get_template("page.html.j2").render(page=content, plotly=plotly)


def _visible_json(value: Any, **how: Any) -> str:
    return visible(json.dumps(value, **how, ensure_ascii=False))


def page(analysis: Analysis) -> Page:
    """All that the page shows."""
    found = page_sections(analysis)
    return Page(
        heading=HEADING,
        name=facts.time_of_start(analysis.results),
        headline=analysis.headline[0],
        numbers=analysis.headline[1:],
        note=analysis.results.note,
        subject=_subject(analysis.results),
        facts=facts.header_facts(analysis),
        alert_heading="This experiment is not valid.",
        alert=_alert(analysis.validity),
        sections=found,
        plots=tuple((chart.id, chart.plot) for section in found for chart in section.all_charts),
        csv=words.figures_csv(
            analysis.loads,
            analysis.passes,
            analysis.verdicts,
            analysis.staircases,
            analysis.searches,
            analysis.effects,
        ),
    )


def page_sections(analysis: Analysis) -> tuple[Section, ...]:
    """The sections in the order in which they are read; those without content are left out."""
    loads = analysis.loads
    at_one_rate = () if analysis.results.is_mixed else loads
    at_any_rate = () if analysis.results.has_changes else loads
    first = _changes(analysis) if analysis.results.has_changes else _key(analysis)
    found = (
        first,
        staircase_section(analysis.staircases),
        search_section(analysis),
        _validity(analysis),
        _hand_in(analysis),
        sections.latency(at_one_rate, analysis.passes),
        sections.cpu(at_one_rate),
        sections.memory(at_any_rate),
        sections.network(at_any_rate),
        sections.where_the_time_goes(at_one_rate, analysis.blank),
        replica_sections.replicas(analysis.balances),
        nodes_section(analysis.nodes),
        replica_sections.events(loads, has_changes=analysis.results.has_changes),
        _figures(analysis),
        Section("run", "What was run", "What was run", facts=facts.run_facts(analysis)),
    )
    return tuple(section for section in found if not section.is_empty)


def _subject(results: Results) -> str:
    count = sum(1 for deployment in results.deployments if deployment.loads or deployment.single_passes)
    if not count:
        return "No deployment was measured."
    where = "one deployment" if count == 1 else f"{count} deployments, and each got the same texts"
    if results.has_changes:
        return f"One inference service ran in {where}. The page shows what happens if replicas or the load change."
    shown = "how many requests per second each can carry" if results.is_search else "response times, throughput, CPU"
    return f"One inference service ran in {where}. The page shows {shown}, memory and network."


def _alert(validity: Validity) -> str:
    """Which reasons make the experiment invalid, each once; empty where it is valid."""
    kinds = dict.fromkeys(reason.title for reason in validity.invalid)
    if not kinds:
        return ""
    return f"{'The reason' if len(kinds) == 1 else f'{len(kinds)} reasons'}: {'; '.join(kinds)}."


def _key(analysis: Analysis) -> Section:
    return Section(
        "key",
        "Key figures, under load",
        "Key figures",
        _how_cards_are_read(analysis),
        cards=cards(analysis),
        how_findings_are_read=how_to_read(analysis.loads),
        findings=paragraphs(analysis.findings),
        charts=sections.ratio_charts(analysis.verdicts),
        tables=pair_tables(analysis),
    )


def _changes(analysis: Analysis) -> Section:
    """What takes the place of the key figures if the deployments were changed."""
    return replace(changes_section(analysis), findings=paragraphs(analysis.findings))


def _how_cards_are_read(analysis: Analysis) -> str:
    if analysis.staircases:
        return HOW_CARDS_OF_RATES_ARE_READ
    if analysis.searches:
        return HOW_CARDS_OF_CAPACITIES_ARE_READ
    return HOW_CARDS_ARE_READ if analysis.loads else ""


def paragraphs(findings: tuple[Finding, ...]) -> tuple[Paragraph, ...]:
    """The findings as paragraphs; of those with the same title only the first has it."""
    made = []
    before = ""
    for finding in findings:
        parts = (Words(part) if isinstance(part, str) else Words(part.text, part.anchor) for part in finding.parts)
        made.append(Paragraph(finding.id, "" if finding.title == before else finding.title, tuple(parts)))
        before = finding.title
    return tuple(made)


def _validity(analysis: Analysis) -> Section:
    validity = analysis.validity
    invalid = [Caveat(doubt.title[0].upper() + doubt.title[1:], doubt.text, "serious") for doubt in validity.invalid]
    caveats = [Caveat("", doubt.text) for doubt in validity.caveats]
    lists = (("Not valid", invalid), ("Caveats", caveats))
    said = NOT_VALID if invalid else "Nothing was found that makes this experiment invalid."
    if not analysis.loads and not invalid:
        said = "Nothing was measured, so there is no number to use. The reasons are below."
    elif caveats and not invalid:
        said += " Read these caveats before you use a number."
    if analysis.results.note:
        said += " The note at the top of the page says how this example was recorded."
    return Section(
        "doubts",
        "Validity",
        "Validity",
        how_to_read=said,
        caveats=tuple(CaveatList(heading, tuple(items)) for heading, items in lists if items),
    )


def _hand_in(analysis: Analysis) -> Section:
    tables = hand_in_tables(analysis)
    title = "Figures to hand in"
    intervals = about_intervals(analysis, "Below a figure is its 95% interval.")
    how_to_read = f"{HOW_TO_READ} {intervals}" if tables else ""
    return Section("hand-in", title, title, how_to_read, tables=tables)


def _figures(analysis: Analysis) -> Section:
    tables = figure_tables(analysis)
    how_to_read = HOW_FIGURES_ARE_READ if tables else ""
    return Section("table", "All figures", "All figures", how_to_read, "Download as CSV", tables=tables)
