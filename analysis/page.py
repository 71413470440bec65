"""One self-contained HTML page: figures, doubts, charts, and what was run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from analysis import figures
from analysis.balance import evenness, replica_shares
from analysis.caveats import caveats
from analysis.frames import Deployment, Results, Run
from analysis.summary import (
    Figure,
    Ratio,
    RunSummary,
    ratio,
    summarize,
    why_unlike,
)


@dataclass(frozen=True)
class Chart:
    """A chart with its title and how to read it."""

    id: str
    title: str
    how_to_read: str
    figure: dict[str, Any]


@dataclass(frozen=True)
class Section:
    """Charts that belong together, under one heading that the navigation leads to."""

    id: str
    title: str
    charts: tuple[Chart, ...]


def render(results: Results) -> str:
    """The page as HTML, with plotly.js in it, so that it opens without a network."""
    environment = Environment(
        loader=PackageLoader("analysis", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(
        number=number,
        interval=interval,
        time=time_of_day,
        ratio=ratio_text,
        ratio_interval=ratio_interval,
        times=times,
        bytes=megabytes,
    )
    loads = [(one, summarize(one.load)) for one in results.deployments if one.load is not None]
    passes = [(one, summarize(one.single_pass)) for one in results.deployments if one.single_pass is not None]
    host = next(((one, summary) for one, summary in loads if one.name == "host"), None)
    content = environment.get_template("page.html.j2").render(
        results=results,
        experiment=results.experiment,
        deployments=results.deployments,
        not_measured=[one for one in results.deployments if one.status != "measured"],
        measured=[one.title for one in results.deployments if one.load or one.single_pass],
        models=_models(results),
        caveats=caveats(results),
        loads=loads,
        passes=passes,
        ratios=_ratios(loads, host),
        colours={one.name: figures.colour(one) for one in results.deployments},
        texts=_texts(results),
        sections=_sections(results, loads, passes),
        shares=_shares(results),
        versions=_versions(results),
    )
    # Put in last and as it is: five megabytes of script need no template.
    return content.replace("/*PLOTLY*/", get_plotlyjs().replace("</script", "<\\/script"))


def number(figure: Figure, digits: int = 1, scale: float = 1.0) -> str:
    """A figure's value, or that it is not measured."""
    if not figure.is_measured:
        return "not measured"
    return f"{figure.value * scale:,.{digits}f}"


def interval(figure: Figure, digits: int = 1, scale: float = 1.0) -> str:
    """What stands below a figure: its interval and n, or why there is none."""
    if not figure.is_measured:
        return figure.missing or ""
    n = f"n = {figure.n:,} {figure.of}"
    if math.isnan(figure.low) and math.isnan(figure.high):
        return n
    low = "?" if math.isnan(figure.low) else f"{figure.low * scale:,.{digits}f}"
    high = "?" if math.isnan(figure.high) else f"{figure.high * scale:,.{digits}f}"
    return f"{low} to {high}\n{n}"


def ratio_text(one: Ratio) -> str:
    """A ratio with its interval, or why there is none."""
    if math.isnan(one.value):
        return one.unlike or "not measured"
    if math.isnan(one.low) or math.isnan(one.high):
        return f"{one.value:.2f}"
    return f"{one.value:.2f} ({one.low:.2f}-{one.high:.2f})"


def time_of_day(stamp: str) -> str:
    """A time of the record (ISO 8601, UTC) as people write it."""
    return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def ratio_interval(one: Ratio) -> str:
    """A ratio's interval alone, or why there is no ratio."""
    if math.isnan(one.value):
        return (one.unlike or "not measured").removeprefix("not compared: ")
    return "" if math.isnan(one.low) or math.isnan(one.high) else f"{one.low:.2f} to {one.high:.2f}"


def times(one: Ratio) -> str:
    """A ratio's value alone, for the large print above its interval."""
    return "not compared" if math.isnan(one.value) else f"{one.value:.2f}"


def megabytes(value: float) -> str:
    """Bytes as MB, or that they are not measured."""
    return "not measured" if math.isnan(value) else f"{value / 1e6:,.3f} MB"


def _ratios(
    loads: list[tuple[Deployment, RunSummary]], host: tuple[Deployment, RunSummary] | None
) -> dict[str, dict[str, Ratio]]:
    """Each deployment's median latency and throughput over the host process's."""
    if host is None:
        return {}
    return {
        one.name: {
            "latency": ratio(summary.latency.median, host[1].latency.median, why_unlike(one, host[0])),
            "throughput": ratio(summary.throughput, host[1].throughput, why_unlike(one, host[0])),
        }
        for one, summary in loads
        if one.name != "host"
    }


def _sections(
    results: Results,
    loads: list[tuple[Deployment, RunSummary]],
    passes: list[tuple[Deployment, RunSummary]],
) -> list[Section]:
    load_runs = [(one, one.load) for one in results.deployments if one.load is not None]
    pass_runs = [(one, one.single_pass) for one in results.deployments if one.single_pass is not None]
    sections = [
        Section("latency", "Latency", _latency_charts(loads, load_runs, pass_runs)),
        Section("throughput", "Throughput", _throughput_charts(loads, load_runs)),
        Section("cpu", "CPU", _cpu_charts(loads, load_runs)),
        Section("memory", "Memory", _memory_charts(loads)),
        Section("network", "Network I/O", _network_charts(loads)),
    ]
    swarm = [chart for one, run in load_runs if one.name.startswith("swarm") for chart in _replica_charts(one, run)]
    if swarm:
        sections.append(Section("replicas", "Replicas under Swarm", tuple(swarm)))
    return [section for section in sections if section.charts] if loads or passes else []


def _latency_charts(
    loads: list[tuple[Deployment, RunSummary]],
    load_runs: list[tuple[Deployment, Run]],
    pass_runs: list[tuple[Deployment, Run]],
) -> tuple[Chart, ...]:
    charts = []
    if loads:
        charts += [
            _chart(
                "latency-load",
                "Under load: median, p95 and p99",
                "Half of the requests were answered within the median, 95 and 99 of 100 within p95 and p99. The thin "
                "lines are 95% intervals within the run; where two overlap, the run may not tell the bars apart. A bar "
                "without a line has too few requests for an interval.",
                figures.percentiles(loads),
            ),
            _chart(
                "latency-load-distribution",
                "Under load: all response times",
                "A line further to the left is faster. Read across at 50% for the median and at 95% for p95; a long "
                "flat end at the top is a tail of slow answers.",
                figures.latency_distribution(load_runs),
            ),
        ]
    if pass_runs:
        charts.append(
            _chart(
                "latency-pass-distribution",
                "Single pass: one user, each text once",
                "Without anyone else in the queue this is what one answer costs. The spread comes mostly from the "
                "texts: long ones take the model longer.",
                figures.latency_distribution(pass_runs),
            )
        )
    if loads:
        charts.append(
            _chart(
                "latency-parts",
                "Where the time goes, under load",
                "The service says how long a text waited for the model and how long the model took; the rest is HTTP, "
                "network, Docker's proxy or ingress, and the client. Medians of the parts need not add up to the "
                "median of the whole.",
                figures.where_the_time_goes(loads),
            )
        )
    return tuple(charts)


def _throughput_charts(
    loads: list[tuple[Deployment, RunSummary]], load_runs: list[tuple[Deployment, Run]]
) -> tuple[Chart, ...]:
    if not loads:
        return ()
    return (
        _chart(
            "throughput-mean",
            "Answers a second, under load",
            "The workload is closed: a user sends its next request when it has its answer, so throughput is users "
            "divided by latency and not what a larger crowd would get.",
            figures.by_deployment(loads, lambda one: one.throughput, "answers a second"),
        ),
        _chart(
            "throughput-time",
            "Answers in each second",
            "A level line is what a mean can stand for; a slope says that something was not warm or busy.",
            figures.over_time(load_runs, "throughput"),
        ),
    )


def _cpu_charts(
    loads: list[tuple[Deployment, RunSummary]], load_runs: list[tuple[Deployment, Run]]
) -> tuple[Chart, ...]:
    if not loads:
        return ()
    return (
        _chart(
            "cpu-mean",
            "CPU under load",
            "The mean over the seconds of the measured phase, all replicas together; 100 is one core. A service that "
            "answers more also uses more: for the cost of an answer see the next chart.",
            figures.by_deployment(loads, lambda one: one.cpu_percent, "CPU in percent of one core"),
        ),
        _chart(
            "cpu-request",
            "CPU time an answer",
            "The service's own CPU time divided by its answers: what a deployment costs whatever its throughput. "
            "Docker's proxy and the kernel's work for the network are in no container's account, and not in here.",
            figures.by_deployment(loads, lambda one: one.cpu_ms_per_request, "CPU-ms an answer"),
        ),
        _chart(
            "cpu-hidden",
            "Where the CPU time of an answer goes",
            "The service's own, and what stands in no container's account: Docker's proxy, its daemon, the kernel's "
            "work for the network (softirq, with that of all other programs), and the load generator. A part that is "
            "not there was not measured.",
            figures.where_the_cpu_goes(loads),
        ),
        _chart(
            "cpu-time",
            "CPU in each second",
            "100 is one core, all replicas of a deployment together.",
            figures.over_time(load_runs, "cpu"),
        ),
    )


def _memory_charts(loads: list[tuple[Deployment, RunSummary]]) -> tuple[Chart, ...]:
    if not loads:
        return ()
    return (
        _chart(
            "memory-mean",
            "Memory, all replicas together",
            "Containers: what they use less the file cache that can go, as docker stats shows it. Host process: its "
            "proportional share (PSS), shared libraries included. The two are counted differently; a small difference "
            "between host and container is no finding. Three replicas hold the model three times.",
            figures.by_deployment(loads, lambda one: one.memory_mean_bytes, "MB, mean", 1e-6),
        ),
    )


def _network_charts(loads: list[tuple[Deployment, RunSummary]]) -> tuple[Chart, ...]:
    if not loads:
        return ()
    return (
        _chart(
            "network-client",
            "Bytes in and out: the client's view",
            "Bodies of requests and answers, as the load generator counts them: the same thing in every deployment, "
            "the host process included. More answers make more bytes.",
            figures.traffic(loads, lambda one: one.client_traffic),
        ),
        _chart(
            "network-interfaces",
            "Bytes in and out: the containers' interfaces",
            "Counters of the containers' own interfaces: bodies and also HTTP, TCP, IP and Ethernet headers and, under "
            "Swarm, what ingress adds. A host process has no interfaces of its own, so this is not measured for it.",
            figures.traffic(loads, lambda one: one.interface_traffic),
        ),
    )


def _replica_charts(deployment: Deployment, run: Run) -> list[Chart]:
    name, title = deployment.name, deployment.title
    return [
        _chart(
            f"{name}-network-time",
            f"{title}: network I/O of each replica over time",
            "Bytes a second through each replica's interfaces. Where they lie on each other the load is spread evenly.",
            figures.replica_network_over_time(run),
        ),
        _chart(
            f"{name}-network-total",
            f"{title}: network I/O of each replica in total",
            "The same bytes over the whole measured phase, in and out apart.",
            figures.replica_network_totals(run),
        ),
        _chart(
            f"{name}-shares",
            f"{title}: who answered how much",
            "Swarm's ingress deals out connections in turn, not requests. With a connection a request the shares are "
            "even; users that keep their connection stay with the replica that it leads to.",
            figures.replica_request_shares(run),
        ),
    ]


def _chart(id: str, title: str, how_to_read: str, figure: go.Figure) -> Chart:
    return Chart(id, title, how_to_read, json.loads(figure.to_json(engine="json")))


def _shares(results: Results) -> list[dict[str, Any]]:
    """Under Swarm: each replica's share, and how even they are."""
    return [
        {"title": one.title, "shares": replica_shares(one.load), "even": evenness(one.load)}
        for one in results.deployments
        if one.name.startswith("swarm") and one.load is not None
    ]


def _models(results: Results) -> list[str]:
    """The models that answered, by name; more than one is a reason not to compare."""
    names = []
    for one in results.deployments:
        for run in (one.single_pass, one.load):
            model = ((run.record.get("service") or {}).get("model") or {}) if run else {}
            if model.get("name") and model["name"] not in names:
                names.append(model["name"])
    return names


def _texts(results: Results) -> list[str]:
    """The texts that were replayed: file, how many, and the digest that says whether two runs had the same."""
    found = [
        run.record["texts"] for one in results.deployments for run in (one.single_pass, one.load) if run is not None
    ]
    return list(
        dict.fromkeys(f"{one.get('file')}, {one.get('count')} texts, sha256 {one['sha256'][:12]}" for one in found)
    )


def _versions(results: Results) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in results.deployments:
        if one.load is not None:
            found |= one.load.record.get("versions") or {}
    return found | {"plotly": version("plotly"), "scipy": version("scipy")}
