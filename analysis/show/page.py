"""One self-contained HTML page: verdicts, doubts, charts, all figures, and what was run."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.findings import figure_anchor
from analysis.judge.verdicts import FASTER, NONE, SLOWER, UNDECIDED, Verdict, against_first
from analysis.measure.rounds import Measurement
from analysis.read.results import Results, Run
from analysis.show.chart_style import colour
from analysis.show.sections import event_section, ratio_charts, replica_tabs, sections, time_section
from runfiles.events import FAILED, STATUS_MEASURED


def render(analysis: Analysis) -> str:
    """The page as HTML, with plotly.js in it, so that it opens without a network."""
    environment = Environment(
        loader=PackageLoader("analysis.show", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(
        number=words.number,
        interval=words.interval,
        ratio=words.ratio,
        verdict=words.verdict,
        time=words.time_of_day,
        p_value=words.p_value,
    )
    environment.globals.update(
        anchor=figure_anchor, colour=colour, sources_of=_sources, FAILED=FAILED, STATUS_MEASURED=STATUS_MEASURED
    )
    results = analysis.results
    tables = (
        ("load", "Under load", analysis.loads, words.rows_of(analysis.loads)),
        ("pass", "Single pass: one user, each text once", analysis.passes, words.rows_of(analysis.passes)),
    )
    return environment.get_template("page.html.j2").render(
        results=results,
        elsewhere=results.engine_elsewhere,
        experiment=results.experiment,
        plan=results.experiment.plan,
        deployments=results.deployments,
        not_measured=[one for one in results.deployments if one.status != STATUS_MEASURED],
        measured=[one.title for one in results.deployments if one.loads or one.single_passes],
        rounds=words.rounds(analysis.loads, results.experiment.plan.rounds),
        models=_models(results),
        validity=analysis.validity,
        findings=analysis.findings,
        loads=analysis.loads,
        against_first=against_first(analysis.verdicts),
        pairs=_pairs(analysis.verdicts),
        classes={SLOWER: "slower", FASTER: "faster", UNDECIDED: "undecided", NONE: "none"},
        ratio_charts=ratio_charts(analysis.verdicts),
        sections=sections(analysis),
        tabs=replica_tabs(analysis.balances),
        balances=analysis.balances,
        late_sections=[*time_section(analysis.loads), *event_section(analysis.loads)],
        tables=[table for table in tables if table[2]],
        csv=words.figures_csv(analysis.loads, analysis.passes, analysis.verdicts),
        texts=_texts(results),
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script")),  # noqa: S704 - no text from outside
        versions=_versions(analysis.loads) | dict(results.experiment.versions or {}),
    )


def _pairs(verdicts: tuple[Verdict, ...]) -> list[list[Verdict]]:
    """The verdicts on each pair of deployments together, one a figure."""
    pairs: dict[tuple[str, str], list[Verdict]] = {}
    for one in verdicts:
        pairs.setdefault((one.other.name, one.one.name), []).append(one)
    return list(pairs.values())


def _models(results: Results) -> list[str]:
    """The models that answered, by name; more than one is a reason not to compare."""
    models = [run.record.model.name for run in results.runs]
    return list(dict.fromkeys(str(name) for name in models if name))


def _texts(results: Results) -> list[str]:
    """The texts that were replayed: file, how many, and the digest that says whether two runs had the same."""
    found = [run.record.texts for run in results.runs]
    return list(dict.fromkeys(f"{each.file}, {each.count} texts, sha256 {each.sha256[:12]}" for each in found))


def _sources(run: Run) -> dict[str, str]:
    """How each group of columns of the replicas was had: CPU, memory, network, ...; empty where it was not told."""
    found: dict[str, dict[str, None]] = {}
    for replica in run.record.replicas.list:
        for group, how in (replica.sources or {}).items():
            found.setdefault(str(group), {})[str(how)] = None
    return {group: " and ".join(ways) for group, ways in found.items()}


def _versions(loads: tuple[Measurement, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in loads:
        for run in one.deployment.loads.values():
            found |= run.record.versions or {}
    return found | {name: version(name) for name in ("numpy", "pandas", "plotly", "scipy")}
