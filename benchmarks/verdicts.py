"""How often the verdicts are right: experiments whose truth is known, drawn from recorded rounds of one deployment.

    python -m benchmarks.verdicts [--experiments 40] [--json FILE]

``rounds.csv.gz`` holds rounds in which the host process was compared with itself (benchmarks.rounds recorded them). An
experiment draws rounds of them, and tosses in each which of the two services is A and which B; so how rounds differ is
what was measured, and not a model of it. A/A compares the two as they are: the truth is 1. A/B makes each response time
of B 10% (or 5%) longer. Then the same code judges as for the page. An experiment has as many rounds as its time has
room for, or ends earlier by precision, as that of the default plan.

``aa_false``: A/A experiments in which any verdict was given. ``ab_found``: A/B experiments in which B's median was
called slower; ``ab_covered``: those whose 95% interval of the median holds 1.1. All of these have the budget of the
default plan. ``ab5_found``: with 5%, and ten minutes. The tables beside them say how budgets, methods and numbers of
rounds compare, from 2,000 experiments each.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.needs import Figures, output_file, positive, require, run, why_no_packages
from benchmarks.rounds import ROUNDS_FILE


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.verdicts", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--experiments", type=positive, default=40, help="A/A, and as many A/B (40)")
    parser.add_argument("--recorded", type=Path, default=ROUNDS_FILE, help="what benchmarks.rounds wrote")
    parser.add_argument("--json", type=output_file, help="write all figures there")
    arguments = parser.parse_args()
    if not arguments.recorded.is_file():
        parser.error(f"{arguments.recorded} is not there; record rounds with python -m benchmarks.rounds")
    require(why_no_packages("numpy", "pandas", "scipy", "psutil", "requests"))
    measure(arguments)
    return 0


def measure(arguments: argparse.Namespace) -> None:
    import math

    from analysis.judge.verdicts import ALPHA, JUDGED, rounds_needed
    from benchmarks.verdict_odds import FEWEST_RECORDED, INJECTED, coverage, odds, read_pool, stopping
    from infra.experiment.plan import Plan

    try:
        pool = read_pool(arguments.recorded)
    except (ValueError, KeyError, EOFError) as error:
        require(f"{arguments.recorded} is not what benchmarks.rounds writes ({error}); name another file (--recorded)")
    if len(pool.logs) < FEWEST_RECORDED:
        had = f"{arguments.recorded} holds {len(pool.logs)} rounds"
        require(f"{had}; record at least {FEWEST_RECORDED} (benchmarks.rounds)")
    minutes = Plan().budget_minutes
    figures = Figures(arguments.json)
    figures.keep(
        experiments=arguments.experiments,
        minutes=minutes,
        rounds=int(pool.rounds_in(minutes)),
        **odds(pool, arguments.experiments, minutes),
        recorded_rounds=len(pool.logs),
        spread_of_rounds=pool.spread,
        rounds_needed_for_10_percent=rounds_needed(pool.spread, math.log(INJECTED), ALPHA / len(JUDGED)),
    )
    for name, value in figures.items():
        print(f"{name:<30} {value:10.4g}", flush=True)
    ended = stopping(pool)
    figures.keep(stopping=ended.to_dict("records"))
    print("\nExperiments without a difference: intervals that hold the truth, and false verdicts, in %")
    print(ended.to_string(index=False), flush=True)
    table = coverage(pool)
    figures.keep(coverage=json.loads(table.to_json(orient="records")))
    print("\n95% intervals that hold the truth, and 10% differences that were found, in % of the experiments")
    print(table.to_string(index=False))


if __name__ == "__main__":
    sys.exit(run(main))
