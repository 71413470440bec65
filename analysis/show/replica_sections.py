"""The sections on replicas: how the load was spread over them, and what happened to them."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.measure.balance import Balance
from analysis.measure.rounds import Measurement
from analysis.show import replica_charts
from analysis.show.elements import Chart, Section, Tab
from analysis.show.sections import chart_of, section_of, time_axis
from analysis.show.tables import share_table
from runfiles.events import FOUND

Loads = Sequence[Measurement]
MOST_TABS = 3
"""Rounds of a deployment whose replicas are drawn; the tables of shares have all."""
HOW_CONNECTIONS_ARE_DEALT = (
    "Swarm's routing mesh (ingress) gives each new connection to the next replica; it does not look at requests. If "
    "each request has its own connection, the shares are even. While a user keeps its connection, it stays with one "
    "replica."
)
HOW_REQUESTS_ARE_DEALT = (
    "The proxy (nginx) gives each request to the replica with the fewest open requests, also if users keep their "
    "connections. So the shares are even if the replicas are equally fast."
)


def events(loads: Loads, *, has_changes: bool = False) -> Section:
    """What happened to the replicas, where that was recorded: a chart only if anything did after they were found."""
    runs = [run for load in loads for run in load.deployment.loads.values()]
    kinds = {str(kind) for run in runs for kind in run.events["event"].unique()}
    title = "Replica events"
    if kinds == {FOUND}:
        return Section("events", title, title, "No replica ended, restarted or was added during the runs.")
    return section_of("events", title, *(_events(loads, has_changes=has_changes) if kinds else ()))


def replicas(balances: Sequence[Balance]) -> Section:
    """How the load was spread over the replicas of a deployment."""
    kinds = dict.fromkeys(balance.deals_requests for balance in balances)
    title = f"Replicas {' and '.join('behind a proxy' if is_proxy else 'under Swarm' for is_proxy in kinds)}".strip()
    return Section("replicas", title, title, tabs=_tabs(balances), tables=tuple(map(share_table, balances)))


def _events(loads: Loads, *, has_changes: bool) -> tuple[Chart, ...]:
    said = (
        "Replicas ended and started because the plan asked for it."
        if has_changes
        else "A run in which a replica ended or restarted is not valid: its figures are those of fewer replicas, or of "
        "a replica that was not warm."
    )
    return (
        chart_of(
            "events",
            "What happened to the replicas",
            f"One row for each replica and round, on the time axis of its run. {said}{time_axis(loads)}",
            replica_charts.events(loads),
        ),
    )


def _tabs(balances: Sequence[Balance]) -> tuple[Tab, ...]:
    """A tab for each of the first rounds of each deployment with replicas; the last one is open."""
    drawn = []
    for balance in balances:
        numbers = [other.number for other in balances if other.measurement is balance.measurement]
        if balance.number in numbers[:MOST_TABS]:
            round_ = f", round {balance.number}" if len(numbers) > 1 else ""
            drawn.append((balance, f"{balance.measurement.title}{round_}"))
    return tuple(
        Tab(balance.id, title, _replicas(balance, title), is_open=balance is drawn[-1][0]) for balance, title in drawn
    )


def _replicas(balance: Balance, title: str) -> tuple[Chart, ...]:
    run = balance.measurement.deployment.loads[balance.number]
    return (
        chart_of(
            f"{balance.id}-network-time",
            f"{title}: network I/O of each replica over time",
            "Bytes per second through the network interfaces of each replica. Lines at the same height mean that "
            f"the load was spread evenly.{time_axis([balance.measurement])}",
            replica_charts.network_over_time(run, balance.shares),
        ),
        chart_of(
            f"{balance.id}-network-total",
            f"{title}: network I/O of each replica in total",
            "The same bytes over the whole measured phase, in and out separately.",
            replica_charts.network_totals(balance.shares),
        ),
        chart_of(
            f"{balance.id}-shares",
            f"{title}: share of each replica",
            f"{HOW_REQUESTS_ARE_DEALT if balance.deals_requests else HOW_CONNECTIONS_ARE_DEALT} The dashed line is "
            "the largest share to expect.",
            replica_charts.request_shares(run, balance.shares, deals_requests=balance.deals_requests),
        ),
    )
