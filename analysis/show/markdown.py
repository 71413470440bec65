"""The page's words and figures as Markdown: for a pull request, or the hand-in."""

from __future__ import annotations

import re

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.measure.quantity import QUANTITIES
from analysis.measure.rounds import Estimate
from runfiles.events import STATUS_MEASURED


def render_markdown(analysis: Analysis) -> str:
    """Validity, verdicts, findings and all figures; texts from outside can't become Markdown or HTML of their own."""
    experiment = analysis.results.experiment
    plan = experiment.plan
    lines = [f"# Fourfold, {words.time_of_day(experiment.started_at)}", ""]
    lines += [
        f"{plan.users} user{'s' if plan.users != 1 else ''} ({safe(plan.user_class)}), "
        f"{words.rounds(analysis.loads, plan.rounds)}, `{_code(experiment.command)}`"
    ]
    if not analysis.validity.is_valid:
        lines += ["", "**This experiment is not valid.**", ""]
        lines += [f"- **{one.title}**: {safe(one.text)}" for one in analysis.validity.invalid]
    not_measured = [one for one in analysis.results.deployments if one.status != STATUS_MEASURED]
    if not_measured:
        lines += ["", "## Not measured", ""]
        lines += [
            f"- {safe(one.title)}: {one.status}: {safe(one.reason or 'no reason was given')}" for one in not_measured
        ]
    if analysis.verdicts:
        lines += ["", "## Verdicts", "", "| pair | figure | ratio (95% interval) | verdict |", "|---|---|---|---|"]
        for verdict in analysis.verdicts:
            pair = f"{safe(verdict.one.title)} against {safe(verdict.other.title)}"
            name = QUANTITIES[verdict.key].title
            lines.append(f"| {pair} | {name} | {words.ratio(verdict.comparison)} | {safe(words.verdict(verdict))} |")
    if analysis.findings:
        lines += ["", "## Findings", ""]
        lines += [f"- **{one.title}.** {safe(one.text)}" for one in analysis.findings]
    for heading, measured in (("Under load", analysis.loads), ("Single pass", analysis.passes)):
        if measured:
            lines += ["", f"## {heading}", "", f"| figure | {' | '.join(safe(one.title) for one in measured)} |"]
            lines.append("|---" * (len(measured) + 1) + "|")
            lacking: list[str] = []
            for measure in words.rows_of(measured):
                cells = [_cell(one.summary[measure.key], measure.digits) for one in measured]
                for one in measured:
                    figure = one.summary[measure.key]
                    if not figure.is_measured:
                        lacking.append(
                            f"- {safe(one.title)}, {measure.title}: not measured: {safe(figure.missing or '')}"
                        )
                unit = f", {measure.unit}" if measure.unit else ""
                lines.append(f"| {measure.title}{unit} | {' | '.join(cells)} |")
            lines += ["", *lacking] if lacking else []
    if analysis.validity.caveats:
        lines += ["", "## To mind", ""]
        lines += [f"- {safe(one.text)}" for one in analysis.validity.caveats]
    return "\n".join(lines) + "\n"


def safe(text: str) -> str:
    """Text on one line in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#&!~])", r"\\\1", " ".join(text.split()))


def _code(text: str) -> str:
    return " ".join(text.split()).replace("`", "'").replace("|", "\\|")


def _cell(figure: Estimate, digits: int) -> str:
    low_to_high = f" ({figure.low:,.{digits}f} to {figure.high:,.{digits}f})" if figure.has_interval else ""
    part = f", {words.PART}" if figure.is_part and figure.is_measured else ""
    return words.number(figure, digits) + low_to_high + part
