"""The sections of charts: which charts each has, and how they are read."""

from __future__ import annotations

import json
from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.judge.findings import Balance
from analysis.judge.verdicts import Verdict
from analysis.measure.rounds import Measurement
from analysis.show import charts, replica_charts
from analysis.show.elements import Chart, Section, Tab
from analysis.show.tables import share_table

MOST_TABS = 3
"""Rounds of a deployment whose replicas are drawn; the tables of shares have all."""

Loads = Sequence[Measurement]


def latency(loads: Loads, passes: Loads) -> Section:
    """Response times and throughput."""
    shown = (*_response_times(loads), *_by_round(loads), *_throughput(loads)) if loads else ()
    return _section("latency", "Latency and throughput", *shown, *_single_pass(passes))


def cpu(loads: Loads) -> Section:
    """The CPU that the service used."""
    return _section("cpu", "CPU", *(_cpu(loads) if loads else ()))


def memory(loads: Loads) -> Section:
    """The memory that the service held."""
    return _section("memory", "Memory", *(_memory(loads) if loads else ()))


def network(loads: Loads) -> Section:
    """Bytes in and out, as the client counts them and as the containers do."""
    return _section("network", "Network I/O", *(_network(loads) if loads else ()))


def where_the_time_goes(loads: Loads) -> Section:
    """The parts of a response time, and of the CPU time that an answer costs."""
    return _section("time", "Where the time goes", *(_parts(loads) if loads else ()))


def events(loads: Loads) -> Section:
    """What became of the replicas, where that was recorded."""
    is_recorded = any(len(run.events) for load in loads for run in load.deployment.loads.values())
    return _section("events", "Replica events", *(_events(loads) if is_recorded else ()))


def replicas(balances: Sequence[Balance]) -> Section:
    """How the load was spread over the replicas of the Swarm deployments."""
    title = "Replicas under Swarm"
    return Section("replicas", title, "Replicas", tabs=_tabs(balances), tables=tuple(map(share_table, balances)))


def ratio_charts(verdicts: Sequence[Verdict]) -> tuple[Chart, ...]:
    """The ratios of median response times, where there is more than one deployment."""
    medians = [verdict for verdict in verdicts if verdict.key == "median_ms" and verdict.comparison.rounds]
    if not medians:
        return ()
    chart = _chart(
        "ratios",
        "Median response time: each deployment against another",
        "A mark right of 1 is slower. The bar is the 95% interval from how the rounds differ: where it crosses 1, the "
        "run can't tell which is faster. A filled mark is a verdict, after the correction for so many comparisons.",
        charts.ratios(medians),
    )
    return (chart,)


def _response_times(loads: Loads) -> tuple[Chart, ...]:
    return (
        _chart(
            "latency-load",
            "Under load: median, p95 and p99",
            "Half of the requests were answered within the median, 95 and 99 of 100 within p95 and p99. The thin lines "
            "are 95% intervals from how the rounds differ; one round has none. A percentile with fewer than 100 "
            "requests above it is not shown.",
            charts.percentiles(loads),
        ),
        _chart(
            "latency-load-distribution",
            "Under load: all response times",
            "A line further to the left is faster. Read across at 50% for the median and at 95% for p95; a long flat "
            "end at the top is a tail of slow answers. All rounds together.",
            charts.latency_distribution(loads, lambda load: [*load.deployment.loads.values()]),
        ),
        _chart(
            "latency-time",
            "Under load: percentiles over time",
            "Median and p95 of the requests sent in each second. Level lines are one steady state; a slope says that "
            "something warmed up or was throttled, a spike that something came between.",
            charts.percentiles_over_time(loads),
        ),
    )


def _throughput(loads: Loads) -> tuple[Chart, ...]:
    return (
        _chart(
            "throughput-mean",
            "Answers a second, under load",
            "The workload is closed: a user sends its next request when it has its answer, so throughput is users "
            "divided by latency and not what a larger crowd would get.",
            charts.by_deployment(loads, "throughput_per_s"),
        ),
        _chart(
            "throughput-time",
            "Answers in each second",
            "A level line is what a mean can stand for; a slope says that something was not warm or busy.",
            charts.over_time(loads, "throughput"),
        ),
    )


def _cpu(loads: Loads) -> tuple[Chart, ...]:
    return (
        _chart(
            "cpu-mean",
            "CPU under load",
            "The mean over the seconds of the measured phase, all replicas together; 100 is one core. A service that "
            "answers more also uses more: for the cost of an answer see the next chart.",
            charts.by_deployment(loads, "cpu_percent"),
        ),
        _chart(
            "cpu-request",
            "CPU time an answer",
            "The service's own CPU time divided by its answers: what a deployment costs whatever its throughput; as "
            "many CPU-seconds for 1,000 answers. Docker's proxy and the kernel's work for the network are in no "
            "container's account, and not in here.",
            charts.by_deployment(loads, "cpu_ms_per_answer"),
        ),
        _chart(
            "cpu-time",
            "CPU in each second",
            "100 is one core, all replicas of a deployment together.",
            charts.over_time(loads, "cpu"),
        ),
    )


def _memory(loads: Loads) -> tuple[Chart, ...]:
    return (
        _chart(
            "memory-mean",
            "Memory, all replicas together",
            "Containers: what they use less the file cache that can go, as docker stats shows it. Host process: its "
            "proportional share (PSS), shared libraries included. The two are counted differently; a small difference "
            "between host and container is no finding. Three replicas hold the model three times.",
            charts.by_deployment(loads, "memory_mean_mb"),
        ),
        _chart(
            "memory-time",
            "Memory in each second",
            "A line that climbs to the end may not have found its level yet.",
            charts.over_time(loads, "memory"),
        ),
    )


def _network(loads: Loads) -> tuple[Chart, ...]:
    return (
        _chart(
            "network-client",
            "Bytes in and out: the client's view",
            "Bodies of requests and answers, as the load generator counts them: the same thing in every deployment, "
            "the host process included. More answers make more bytes.",
            charts.traffic(loads, "body"),
        ),
        _chart(
            "network-interfaces",
            "Bytes in and out: the containers' interfaces",
            "Counters of the containers' own interfaces: bodies and also HTTP, TCP, IP and Ethernet headers and, under "
            "Swarm, what ingress adds. A host process has no interfaces of its own, so this is not measured for it.",
            charts.traffic(loads, "interface"),
        ),
    )


def _parts(loads: Loads) -> tuple[Chart, ...]:
    return (
        _chart(
            "latency-parts",
            "Where the time of a request goes, under load",
            "The service says how long a text waited for the model and how long the model took (Server-Timing); the "
            "rest is HTTP, network, Docker's proxy or ingress, and the client. Medians of the parts need not add up to "
            "the median of the whole.",
            charts.where_the_time_goes(loads),
        ),
        _chart(
            "cpu-hidden",
            "Where the CPU time of an answer goes",
            "The service's own, and what stands in no container's account: Docker's proxy, its daemon, the kernel's "
            "work for the network (softirq, with that of all other programs), and the load generator. A part that is "
            "not there was not measured.",
            charts.where_the_cpu_goes(loads),
        ),
    )


def _events(loads: Loads) -> tuple[Chart, ...]:
    return (
        _chart(
            "events",
            "What became of the replicas",
            "One row a replica and round, on the time axis of its run. A replica that ended or was restarted in the "
            "measured phase makes the run invalid: its figures are those of fewer replicas, or of a cold one.",
            replica_charts.events(loads),
        ),
    )


def _by_round(loads: Loads) -> tuple[Chart, ...]:
    if all(len(load.rounds) < 2 for load in loads):
        return ()
    return (
        _chart(
            "latency-rounds",
            "Under load: the median of each round",
            "How far the rounds of one deployment lie apart is the noise that a difference has to stand out from.",
            charts.by_round(loads, "median_ms"),
        ),
    )


def _single_pass(passes: Loads) -> tuple[Chart, ...]:
    if not passes:
        return ()
    return (
        _chart(
            "latency-pass-distribution",
            "Single pass: one user, each text once",
            "Without anyone else in the queue this is what one answer costs. The spread comes mostly from the texts: "
            "long ones take the model longer.",
            charts.latency_distribution(passes, lambda alone: [*alone.deployment.single_passes.values()]),
        ),
    )


def _tabs(balances: Sequence[Balance]) -> tuple[Tab, ...]:
    """A tab for each of the first rounds of each Swarm deployment; the last one is open."""
    drawn = []
    for balance in balances:
        numbers = [other.number for other in balances if other.one is balance.one]
        if balance.number in numbers[:MOST_TABS]:
            round_ = f", round {balance.number}" if len(numbers) > 1 else ""
            drawn.append((balance, f"{balance.one.title}{round_}"))
    return tuple(
        Tab(balance.id, title, _replicas(balance, title), is_open=balance is drawn[-1][0]) for balance, title in drawn
    )


def _replicas(balance: Balance, title: str) -> tuple[Chart, ...]:
    run = balance.one.deployment.loads[balance.number]
    return (
        _chart(
            f"{balance.id}-network-time",
            f"{title}: network I/O of each replica over time",
            "Bytes a second through each replica's interfaces. Where they lie on each other the load is spread evenly.",
            replica_charts.network_over_time(run, balance.shares),
        ),
        _chart(
            f"{balance.id}-network-total",
            f"{title}: network I/O of each replica in total",
            "The same bytes over the whole measured phase, in and out apart.",
            replica_charts.network_totals(balance.shares),
        ),
        _chart(
            f"{balance.id}-shares",
            f"{title}: share against expected",
            "Swarm's ingress deals out connections in turn, not requests. With a connection a request the shares are "
            "even; users that keep their connection stay with the replica that it leads to.",
            replica_charts.request_shares(run, balance.shares),
        ),
    )


def _section(id: str, title: str, *shown: Chart) -> Section:
    return Section(id, title, title, charts=shown)


def _chart(id: str, title: str, how_to_read: str, drawn: go.Figure) -> Chart:
    return Chart(id, title, how_to_read, json.loads(drawn.to_json(engine="json")))
