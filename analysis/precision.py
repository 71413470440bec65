"""``python -m analysis precision FOLDER``: how precisely each pair's ratio is known by now, as JSON.

The ratio is that of the medians or, in a search for the capacity, of the capacities. A staircase of rates has none.

``infra`` runs it after each round, to know whether the next one is needed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from analysis.judge.capacities import compare_capacities
from analysis.judge.comparability import why_unlike
from analysis.judge.verdicts import Comparison, compare
from analysis.measure.latency import quantiles
from analysis.measure.rounds import Measurement
from analysis.measure.searches import Search, search_of, with_capacity
from analysis.read.records import UnreadableResults
from analysis.read.results import Deployment, Results, read_results
from runfiles.lines import printable

KEY = "median_ms"


def main(arguments: list[str]) -> int:
    """The command; its exit code: 0 it was printed, 2 the folder can't be read."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis precision",
        description="Print as JSON how precisely the ratio of the medians of each pair of deployments is known, or of "
        "their capacities if these were searched. A staircase of rates has no pairs. The experiment may still run.",
        epilog="Exit code: 0 it was printed, 2 the folder can't be read.",
    )
    parser.add_argument("results", type=Path, help="the folder of the experiment")
    said = parser.parse_args(arguments)
    try:
        found = precision(read_results(said.results))
    except UnreadableResults as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    print(json.dumps(found))
    return 0


def precision(results: Results) -> dict[str, Any]:
    """How many rounds were measured, and each pair with its ratio, interval and half width in percent.

    They are those of the verdicts: None until there are rounds enough for them. Pairs that may not be compared are left
    out, as no round makes them known. So are all pairs of a staircase, or of loads with changes: one median of several
    rates, or of before and after, says little.
    """
    deployments = [deployment for deployment in results.deployments if deployment.loads]
    rounds = max((len(deployment.loads) for deployment in deployments), default=0)
    is_unknown = results.is_staircase or results.has_changes
    return {"rounds": rounds, "pairs": [] if is_unknown else _pairs(results, deployments)}


def _pairs(results: Results, deployments: Sequence[Deployment]) -> list[dict[str, Any]]:
    planned = results.experiment.plan.capacity
    if planned is None:
        loads = [_medians(deployment) for deployment in deployments]
        compared = partial(compare, key=KEY, loads=loads)
    else:
        searches = [search_of(deployment, planned.slo) for deployment in deployments]
        loads = [_capacities(search) for search in searches]
        compared = partial(compare_capacities, {search.name: search for search in searches})
    pairs = []
    for baseline, subject in itertools.combinations(loads, 2):
        if why_unlike(baseline.deployment, subject.deployment, results.host_apart) is None:
            pairs.append({"baseline": baseline.name, "subject": subject.name, **_shown(compared(baseline, subject))})
    return pairs


def _medians(deployment: Deployment) -> Measurement:
    """A deployment of which only the median of each round is computed."""
    rounds = {
        number: {KEY: quantiles(run.answered["response_time_ms"].to_numpy(), [0.5])[0]}
        for number, run in deployment.loads.items()
    }
    return Measurement(deployment, rounds, {})


def _capacities(search: Search) -> Measurement:
    """A deployment of which only the capacity of each round is computed."""
    return with_capacity(Measurement(search.deployment, {number: {} for number in search.rounds}, {}), search)


def _shown(found: Comparison) -> dict[str, float | None]:
    low, high = (found.low, found.high) if found.has_interval else (math.nan, math.nan)
    told = {"ratio": found.ratio, "low": low, "high": high, "half_width_percent": found.half_width_percent}
    return {name: None if math.isnan(value) else value for name, value in told.items()}
