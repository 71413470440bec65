"""The requests of a run beside what queueing theory says of it: waits, intervals, and whether theory lies in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.batch_means import Estimate, estimate_mean, estimate_quantile
from benchmarks.queueing_cases import CONSTANT, SERVICE_MS, THINK_MS, OpenCase
from benchmarks.queueing_theory import closed_throughput, md1_wait_quantile, mean_wait, mm1_wait_quantile, waits

PERCENTILE = 0.95
WIDEST_HALF_WIDTH = 0.07
"""An interval with a larger half width, as a share of its middle, proves too little."""
CLOSED_TOLERANCE = 0.03
"""How far the answers per second of closed users may be from theory, as a share of it."""


@dataclass(frozen=True)
class Compared:
    """A quantity of a case as theory has it and as it was measured, and the interval of what was measured.

    ``same_arrivals``: what theory's server makes of the very arrivals and services of this run. It is near the measured
    number if the instrument is right, and near theory if chance dealt an average run. None: closed users.
    """

    case: str
    quantity: str
    unit: str
    theory: float
    measured: float
    low: float
    high: float
    half_width_percent: float
    same_arrivals: float | None
    holds: bool


def compare_waits(case: OpenCase, runs: Sequence[pd.DataFrame], idle_ms: float) -> list[Compared]:
    """The mean and the 95th percentile of the waits at the servers of a case.

    A number holds if theory lies in its interval, and the interval is narrow enough.

    Args:
        case: what was loaded.
        runs: of each server the requests, with the columns of ``with_waits``.
        idle_ms: what an idle server takes beyond its service time.
    """
    rows = pd.concat([with_waits(run, idle_ms) for run in runs])
    measured, replayed = rows["wait_ms"].to_numpy(), rows["replayed_ms"].to_numpy()
    is_constant = case.services == CONSTANT
    mean = mean_wait(case.load, 0 if is_constant else 1)
    p95 = (md1_wait_quantile if is_constant else mm1_wait_quantile)(PERCENTILE, case.load)
    name = f"{case.queue}, load {case.load:g}"
    return [
        _compared(name, "mean wait", mean, estimate_mean(measured), replayed.mean()),
        _compared(
            name, "p95 of waits", p95, estimate_quantile(measured, PERCENTILE), np.quantile(replayed, PERCENTILE)
        ),
    ]


def _compared(case: str, quantity: str, theory: float, found: Estimate, same_arrivals: float) -> Compared:
    theory_ms = theory * SERVICE_MS
    is_narrow = found.half_width_share <= WIDEST_HALF_WIDTH
    return Compared(
        case=case,
        quantity=quantity,
        unit="ms",
        theory=theory_ms,
        measured=found.value,
        low=found.low,
        high=found.high,
        half_width_percent=found.half_width_share * 100,
        same_arrivals=float(same_arrivals),
        holds=is_narrow and found.low <= theory_ms <= found.high,
    )


def with_waits(requests: pd.DataFrame, idle_ms: float) -> pd.DataFrame:
    """How long each measured request of a run waited at its server, with the columns ``wait_ms`` and ``replayed_ms``.

    Args:
        requests: all that were answered, also those of the warm-up, with ``is_measured``, ``arrived_ms`` (when each was
            due), ``response_time_ms`` (counted from then) and ``service_ms`` (as the server says).
        idle_ms: what an idle server takes beyond its service time.
    """
    in_order = requests.sort_values("arrived_ms")
    replayed = waits(in_order["arrived_ms"].to_numpy(), in_order["service_ms"].to_numpy())
    waited = in_order["response_time_ms"] - in_order["service_ms"] - idle_ms
    return in_order.assign(wait_ms=waited, replayed_ms=replayed)[in_order["is_measured"]]


def idle_time(requests: pd.DataFrame) -> Estimate:
    """What an idle server takes beyond its service time, in ms: client, sockets and server, from requests that never
    had to wait. The columns are those of ``with_waits``."""
    measured = requests[requests["is_measured"]].sort_values("arrived_ms")
    return estimate_mean((measured["response_time_ms"] - measured["service_ms"]).to_numpy())


def compare_throughput(users: int, requests: pd.DataFrame, idle_ms: float) -> Compared:
    """The answers per second of closed users. What an idle server takes beyond its service time is a part of the pause:
    the server is free meanwhile. The columns are those of ``with_waits``."""
    measured = requests[requests["is_measured"]]
    ends = np.sort((measured["arrived_ms"] + measured["response_time_ms"]).to_numpy())
    gaps = estimate_mean(np.diff(ends))
    theory = closed_throughput(users, (THINK_MS + idle_ms) / SERVICE_MS) * 1000 / SERVICE_MS
    value = 1000 / gaps.value
    return Compared(
        case=f"M/M/1//{users}, closed users",
        quantity="throughput",
        unit="1/s",
        theory=theory,
        measured=value,
        low=1000 / gaps.high,
        high=1000 / gaps.low,
        half_width_percent=gaps.half_width_share * 100,
        same_arrivals=None,
        holds=abs(value / theory - 1) <= CLOSED_TOLERANCE,
    )
