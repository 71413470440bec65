"""The sections of charts: which charts each has, and how they are read."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.judge import words
from analysis.judge.verdicts import JUDGED, NAMES, Verdict
from analysis.judge.words import is_client_told, is_in_blocks, is_memory_mixed
from analysis.measure.balance import replicas_of
from analysis.measure.parts import Blank
from analysis.measure.rounds import Measurement
from analysis.show import charts, latency_charts
from analysis.show.chart_style import plot_of
from analysis.show.elements import Chart, Section

FEW_ROUNDS = "Fewer than three rounds give no interval, so none is drawn."
LAID_OUT = " The time axis is the measured time of the blocks, laid end to end; between them the load was elsewhere."
INTERVALS = "A thin line on a bar is the 95% interval."

Loads = Sequence[Measurement]


def latency(loads: Loads, passes: Loads) -> Section:
    """Response times and throughput."""
    shown = (*_response_times(loads), *_by_round(loads), *_throughput(loads)) if loads else ()
    return section_of("latency", "Latency and throughput", *shown, *_single_pass(passes))


def cpu(loads: Loads) -> Section:
    """The CPU that the service used."""
    return section_of("cpu", "CPU", *(_cpu(loads) if loads else ()))


def memory(loads: Loads) -> Section:
    """The memory that the service held."""
    return section_of("memory", "Memory", *(_memory(loads) if loads else ()))


def network(loads: Loads) -> Section:
    """Bytes in and out, as the client counts them and as the containers do."""
    return section_of("network", "Network I/O", *(_network(loads) if loads else ()))


def where_the_time_goes(loads: Loads, blank: Blank) -> Section:
    """The parts of a response time, and of the CPU time that an answer costs."""
    return section_of("time", "What an answer takes", *(_parts(loads, blank) if loads else ()))


def ratio_charts(verdicts: Sequence[Verdict]) -> tuple[Chart, ...]:
    """The ratios of the response times of each pair: a chart for each quantity of which any ratio may be read."""
    drawn = []
    for key in JUDGED:
        name = NAMES[key]
        own = [
            verdict for verdict in verdicts if verdict.key == key and verdict.shows_ratio and verdict.comparison.rounds
        ]
        if not own:
            continue
        few = "" if any(verdict.comparison.has_interval for verdict in own) else f" {FEW_ROUNDS}"
        drawn.append(
            chart_of(
                f"ratios-{name}",
                f"{name[0].upper() if name == 'median' else name[0]}{name[1:]} of the response time: each pair",
                "A mark right of 1 means that the first deployment of the pair is slower. The bar is the 95% interval. "
                "A filled mark: a difference is proven. An open mark: no difference is proven, even if the bar does "
                f"not touch 1.{few}",
                latency_charts.ratios(own),
            )
        )
    return tuple(drawn)


def _response_times(loads: Loads) -> tuple[Chart, ...]:
    return (
        chart_of(
            "latency-load",
            "Under load: median, p95 and p99",
            "Half of the requests were answered within the median, 95 of 100 within p95, and 99 of 100 within p99. "
            f"Lower is better. A percentile is shown only if at least 100 requests were slower. {INTERVALS}",
            latency_charts.percentiles(loads),
        ),
        chart_of(
            "latency-load-distribution",
            "Under load: all response times",
            "Each line says how many requests were answered within a given time. A line further to the left is "
            "faster. Read across at 50% for the median and at 95% for p95. A long flat end at the top means that "
            "some answers were slow. All rounds are taken together.",
            latency_charts.latency_distribution(loads, lambda load: [*load.deployment.loads.values()]),
        ),
        chart_of(
            "latency-time",
            "Under load: percentiles over time",
            "Median (solid) and p95 (dotted) of the requests sent in each second. Level lines mean a steady run. A "
            "slope means that something warmed up or was slowed down. A spike may mean that something else disturbed "
            "the run. All rounds are taken together. The p95 of one second comes from few requests and is only a hint."
            f"{time_axis(loads)}",
            latency_charts.percentiles_over_time(loads),
        ),
    )


def _throughput(loads: Loads) -> tuple[Chart, ...]:
    return (
        chart_of(
            "throughput-mean",
            "Answers per second, under load",
            f"{_what_throughput_says(loads)} {INTERVALS}",
            charts.by_deployment(loads, "throughput_per_s"),
        ),
        chart_of(
            "throughput-time",
            "Answers in each second",
            "Each point is the mean of all rounds. A level line means a steady run. A slope means that something "
            f"warmed up or was slowed down.{time_axis(loads)}",
            charts.over_time(loads, "throughput_per_s"),
        ),
    )


def _what_throughput_says(loads: Loads) -> str:
    if any(load.deployment.is_open for load in loads):
        return (
            "Requests were due at a rate, whether or not earlier ones were answered. So a deployment that keeps up "
            "gives as many answers as were asked for. This does not say how many more it could give."
        )
    return (
        "Each user sends its next request only after it has its answer. So the faster the answers come, the more of "
        "them there are. This does not say what more users would get."
    )


def _cpu(loads: Loads) -> tuple[Chart, ...]:
    return (
        chart_of(
            "cpu-mean",
            "CPU under load",
            "The mean over the measured phase, all replicas together. 100% is one core. A service that gives more "
            f"answers also uses more CPU; the next chart shows what one answer costs. {INTERVALS}",
            charts.by_deployment(loads, "cpu_percent"),
        ),
        chart_of(
            "cpu-request",
            "CPU time per answer",
            "The CPU time of the service divided by the number of its answers. 1 ms per answer is 1 s per 1,000 "
            f"answers. CPU time of Docker's proxy{', of nginx' if words.has_reverse_proxy(loads) else ''} and of the "
            "kernel's network code is not part of it; the chart "
            f"'Where the CPU time of an answer goes' has it, if it was measured. {INTERVALS}",
            charts.by_deployment(loads, "cpu_ms_per_answer"),
        ),
        chart_of(
            "cpu-time",
            "CPU in each second",
            f"All replicas of a deployment together, mean of all rounds. 100% is one core.{time_axis(loads)}",
            charts.over_time(loads, "cpu_percent"),
        ),
    )


def time_axis(loads: Loads) -> str:
    """What the time axis is, if the load came in blocks."""
    return LAID_OUT if is_in_blocks(loads) else ""


def _how_memory_is_counted(loads: Loads) -> str:
    """How the memory of these deployments is counted: only what is true of them."""
    said = []
    if is_memory_mixed(loads):
        said.append("Do not compare the host process with containers: their memory is counted differently.")
    if not all(load.deployment.is_host for load in loads):
        said.append(
            "The memory of a container is what its cgroup uses, less the file cache that the kernel can drop, as "
            "docker stats shows it."
        )
    if any(load.deployment.is_host for load in loads):
        said.append("The memory of the host process is its proportional share (PSS), which includes shared libraries.")
    if any(replicas_of(run) > 1 for load in loads for run in load.deployment.loads.values()):
        said.append("Each replica has its own memory, so three replicas need about three times as much as one.")
    return " ".join(said)


def _memory(loads: Loads) -> tuple[Chart, ...]:
    dotted = time_axis(loads)
    if is_memory_mixed(loads):
        dotted += " The line of the host process is dotted, because its memory is counted differently."
    return (
        chart_of(
            "memory-mean",
            "Memory, all replicas together",
            f"{_how_memory_is_counted(loads)} {INTERVALS}",
            charts.memory_by_deployment(loads),
        ),
        chart_of(
            "memory-time",
            "Memory in each second",
            "The mean of all rounds. A line that still rises at the end may not have reached its final level." + dotted,
            charts.over_time(loads, "memory_mean_mb"),
        ),
    )


def _network(loads: Loads) -> tuple[Chart, ...]:
    chart = chart_of(
        "network-client",
        "Bytes in and out, counted by the client",
        "The bodies of requests and answers. The load generator counts them in the same way for every "
        "deployment. More answers make more bytes: to compare deployments, use the bytes for 1,000 answers in the "
        "table.",
        charts.traffic(loads, "body"),
    )
    if not any(load.summary["interface_out_mb"].is_measured for load in loads):
        return (chart,)
    return (
        chart,
        chart_of(
            "network-interfaces",
            "Bytes in and out, counted at the containers' network interfaces",
            "The bodies, and the headers of HTTP, TCP, IP and Ethernet. Under Swarm, also what the routing mesh "
            "(ingress) adds. A host process and a container with --network host have no network interface of "
            "their own, so this is not measured for them.",
            charts.traffic(loads, "interface"),
        ),
    )


def _parts(loads: Loads, blank: Blank) -> tuple[Chart, ...]:
    return (
        chart_of(
            "latency-parts",
            "Where the time of a request goes, under load",
            _how_parts_are_measured(loads, blank),
            charts.where_the_time_goes(loads),
        ),
        chart_of(
            "cpu-hidden",
            "Where the CPU time of an answer goes",
            "The part at the bottom is the CPU time of the service. No replica's statistics contain the parts above "
            f"it: Docker's proxy, {'the reverse proxy (nginx), ' if words.has_reverse_proxy(loads) else ''}Docker's "
            "daemon, the kernel's network code (softirq, for all programs of this machine), and the load generator. "
            "A part that is missing was not measured; the table says why.",
            charts.where_the_cpu_goes(loads),
        ),
    )


def _how_parts_are_measured(loads: Loads, blank: Blank) -> str:
    if not any(load.summary["inference_ms"].is_measured for load in loads):
        return (
            "The service does not report how long it works on a text (header Server-Timing). So its own time can't be "
            "told apart from that of HTTP, the network and the client."
        )
    if not is_client_told(loads):
        return (
            "The service reports how long a text waited for the model and how long the model took (header "
            "Server-Timing). The rest is HTTP, the network, the client and, where there is one, Docker's proxy, "
            "a reverse proxy or Swarm's ingress. Each part is a median, so the parts may not add up to the "
            "median of the whole."
        )
    waits = (
        ""
        if math.isnan(blank.wait_ms)
        else " Added to it is how much longer than there an answer lay in the kernel's buffer until the client read it."
    )
    return (
        "Model and queue are what the service reports (header Server-Timing). The load generator's own part is "
        f"measured with the blank: the same client against a responder that answers at once.{waits} The rest is "
        "network, HTTP and, where there is one, Docker's proxy, a reverse proxy or Swarm's ingress. Each part is "
        "the mean over the requests between the 40th and the 60th percentile of the response time. So the parts add up "
        "to the median, which is the line. "
        f"The blank: {words.blank(blank)}."
    )


def _by_round(loads: Loads) -> tuple[Chart, ...]:
    if all(len(load.rounds) < 2 for load in loads):
        return ()
    return (
        chart_of(
            "latency-rounds",
            "Under load: the median of each round",
            "The rounds of one deployment differ by chance. If the lines of two deployments cross, their difference "
            "may be chance too.",
            latency_charts.by_round(loads, "median_ms"),
        ),
    )


def _single_pass(passes: Loads) -> tuple[Chart, ...]:
    if not passes:
        return ()
    return (
        chart_of(
            "latency-pass-distribution",
            "Single pass: one user, each text once",
            "One user sends each text once, so no request waits for another. This is what a single answer costs."
            f" {words.passes(passes)}".rstrip(),
            latency_charts.latency_distribution(passes, lambda alone: [*alone.deployment.single_passes.values()]),
        ),
    )


def section_of(id: str, title: str, *shown: Chart) -> Section:
    """A section of charts; it is left out if there are none."""
    return Section(id, title, title, charts=shown)


def chart_of(id: str, title: str, how_to_read: str, drawn: go.Figure) -> Chart:
    """A chart with its heading, and how it is read."""
    return Chart(id, title, how_to_read, plot_of(drawn))
