"""The report to hand in, as Markdown: what must be known first, figures, plots, an explanation of NET I/O, pros and
cons, each with a place for the student's own words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.analyse import Analysis
from analysis.judge.doubts import Doubt
from analysis.read.results import Deployment
from analysis.show import changes, facts
from analysis.show.elements import Fact
from analysis.show.hand_in import HOW_TO_READ, about_intervals, hand_in_tables
from analysis.show.hand_in_claims import Claim, claims
from analysis.show.hand_in_network import RULE, explanation, replicas_table
from analysis.show.hand_in_plots import PLOTS
from analysis.show.markdown import code, safe, table_lines
from analysis.show.nodes import nodes_tables
from analysis.show.search import search_table
from analysis.show.staircase import staircase_table
from runfiles.events import STATUS_MEASURED
from runfiles.records import Image

YOUR_WORDS = "> Your words:"
"""Below each section and each plot; there the student writes."""


def render_report(analysis: Analysis) -> str:
    """The whole report. Its plots are the files that ``hand_in_plots.draw`` makes, beside it."""
    sections = (
        ("Read this first", _read_first(analysis)),
        ("What was measured", _what_was_measured(analysis)),
        ("CPU, memory, network and latency", _figures(analysis)),
        ("Plots", _plots()),
        ("Network I/O with one replica and with three", _network(analysis)),
        ("Pros and cons", _pros_and_cons(analysis)),
    )
    lines = ["# One inference service, run in several ways", "", safe(" ".join(analysis.headline))]
    for number, (title, section) in enumerate(sections, 1):
        lines += ["", f"## {number}. {title}", "", *section]
        lines += [] if section[-1] == YOUR_WORDS else ["", YOUR_WORDS]
    return "\n".join(lines) + "\n"


def _read_first(analysis: Analysis) -> list[str]:
    """What speaks against the figures, and what is missing."""
    results = analysis.results
    lines = [safe(results.note), ""] if results.note else []
    if not analysis.validity.is_valid:
        lines += ["**This experiment is not valid. Remove the cause and measure again.** The causes:", ""]
        lines += [_doubt(doubt) for doubt in analysis.validity.invalid]
        lines += [""]
    absent = [deployment for deployment in results.deployments if deployment.status != STATUS_MEASURED]
    if absent:
        lines += ["These were not measured, so there are no figures of them:", "", *map(_absent, absent), ""]
    caveats = [f"- {safe(doubt.text)}" for doubt in analysis.validity.caveats]
    lines += ["Caveats:", "", *caveats] if caveats else ["There are no caveats."]
    return lines


def _doubt(doubt: Doubt) -> str:
    return f"- **{doubt.title}**: {safe(doubt.text)}"


def _absent(deployment: Deployment) -> str:
    return f"- {safe(deployment.title)}: {safe(deployment.reason or 'the reason is not known')}"


def _what_was_measured(analysis: Analysis) -> list[str]:
    shown = (*facts.header_facts(analysis), Fact("Command", code=facts.command(analysis.results)))
    return [*map(_fact, shown), *_images(analysis)]


def _fact(fact: Fact) -> str:
    return f"- {fact.term}: {f'`{code(fact.code)}`' if fact.code else safe(fact.text)}"


def _images(analysis: Analysis) -> Iterator[str]:
    """Each image with its digest, and the deployments that ran it."""
    found: dict[Image, list[str]] = {}
    for deployment in analysis.results.deployments:
        if deployment.image is not None and deployment.measured_rounds:
            found.setdefault(deployment.image, []).append(deployment.title)
    for image, titles in found.items():
        yield f"- Image of {safe(', '.join(titles))}: {safe(image.name or 'the name is not known')}"
        yield f"    - ID: {f'`{code(image.id)}`' if image.id else 'not known'}"
        if image.digests:
            yield from (f"    - Digest: `{code(digest)}`" for digest in image.digests)
        else:
            yield (
                "    - Digest: none, because the image had not been pushed to a registry. After `docker push`, "
                "`docker inspect --format '{{.RepoDigests}}' IMAGE` prints it"
            )
    if not found:
        yield "- Image: none is recorded"


def _figures(analysis: Analysis) -> list[str]:
    tables = hand_in_tables(analysis)
    if not tables and not analysis.effects:
        return ["Nothing was measured."]
    how_to_read = f"{safe(HOW_TO_READ)} {about_intervals(analysis, 'Two numbers in brackets are a 95% interval.')}"
    first = [how_to_read] if tables else [safe(changes.HOW_TO_READ)]
    if analysis.staircases:
        tables = (*tables, staircase_table(analysis.staircases))
    if analysis.searches:
        tables = (*tables, search_table(analysis))
    if analysis.effects:
        tables = (*tables, changes.changes_table(analysis))
    return [*first, *(line for table in tables for line in table_lines(table))]


def _plots() -> list[str]:
    """Each plot, and a line for what the student sees in it."""
    lines: list[str] = []
    for plot in PLOTS:
        lines += ["", f"### {plot.title}", "", f"![{plot.title}]({plot.name}.png)", ""]
        lines += [f"{plot.how_to_read} The same plot as SVG: [{plot.name}.svg]({plot.name}.svg)", "", YOUR_WORDS]
    return lines[1:]


def _network(analysis: Analysis) -> list[str]:
    table = replicas_table(analysis)
    lines = [RULE, *(table_lines(table) if table else [])]
    for paragraph in explanation(analysis):
        lines += ["", paragraph]
    for nodes in analysis.nodes:
        lines += [line for table in nodes_tables(nodes) for line in table_lines(table)]
    return lines


def _pros_and_cons(analysis: Analysis) -> list[str]:
    lines = [
        "Open means that this run does not decide it. The last column has this run's figures under load: means of the "
        "rounds. A ratio is computed round by round, so it need not be the quotient of two of these means. "
        f"{about_intervals(analysis, 'Two numbers in brackets are a 95% interval.')}".rstrip()
    ]
    for title, own in claims(analysis).items():
        lines += ["", f"### {title}", "", "| | what | figures of this run |", "|---|---|---|", *_claims(own)]
        lines += ["", YOUR_WORDS]
    return lines


def _claims(own: Sequence[Claim]) -> list[str]:
    return [f"| {claim.side} | {safe(claim.text)} | {safe(claim.figures)} |" for claim in own]
