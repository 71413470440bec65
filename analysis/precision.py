"""``python -m analysis precision FOLDER``: how precisely each pair's ratio of medians is known by now, as JSON.

``infra`` runs it after each round, to know whether the next one is needed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

from analysis.judge.comparability import why_unlike
from analysis.judge.verdicts import Comparison, compare
from analysis.measure.latency import quantiles
from analysis.measure.rounds import Measurement
from analysis.read.records import UnreadableResults
from analysis.read.results import Deployment, Results, read_results

KEY = "median_ms"


def main(arguments: list[str]) -> int:
    """The command; its exit code: 0 it was printed, 2 the folder can't be read."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis precision",
        description="Print as JSON how precisely the ratio of the medians of each pair of deployments is known. The "
        "experiment may still run.",
        epilog="Exit code: 0 it was printed, 2 the folder can't be read.",
    )
    parser.add_argument("results", type=Path, help="the folder of the experiment")
    said = parser.parse_args(arguments)
    try:
        found = precision(read_results(said.results))
    except UnreadableResults as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found))
    return 0


def precision(results: Results) -> dict[str, Any]:
    """How many rounds were measured, and each pair with its ratio, interval and half width in percent.

    They are those of the verdicts: None until there are rounds enough for them. Pairs that may not be compared are left
    out, as no round makes them known.
    """
    loads = [_medians(deployment) for deployment in results.deployments if deployment.loads]
    pairs = []
    for baseline, subject in itertools.combinations(loads, 2):
        if why_unlike(baseline.deployment, subject.deployment, results.engine_elsewhere) is None:
            found = _shown(compare(baseline, subject, KEY, loads))
            pairs.append({"baseline": baseline.name, "subject": subject.name, **found})
    return {"rounds": max((len(load.rounds) for load in loads), default=0), "pairs": pairs}


def _medians(deployment: Deployment) -> Measurement:
    """A deployment of which only the median of each round is computed."""
    rounds = {
        number: {KEY: quantiles(run.answered["response_time_ms"].to_numpy(), [0.5])[0]}
        for number, run in deployment.loads.items()
    }
    return Measurement(deployment, rounds, {})


def _shown(found: Comparison) -> dict[str, float | None]:
    low, high = (found.low, found.high) if found.has_interval else (math.nan, math.nan)
    told = {"ratio": found.ratio, "low": low, "high": high, "half_width_percent": found.half_width_percent}
    return {name: None if math.isnan(value) else value for name, value in told.items()}
