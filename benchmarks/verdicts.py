"""How often the page's verdicts are right, in experiments whose truth is known.

    python -m benchmarks.verdicts [--experiments 40] [--rounds 20] [--json FILE]

``rounds.csv.gz`` holds rounds of the host process that benchmarks.rounds recorded, each with its own start of the
service. An experiment draws pairs of rounds that ran one after another, as an interleaved experiment has them, and
decides at random which of the two is A and which is B. So rounds differ as much as they did when they were recorded;
no model of the noise is needed. Within a round, whole seconds of requests are drawn again with replacement, because
requests of the same second are alike. A/A compares the two as they are: the true ratio is 1. A/B makes each response
time of B 10% longer: the true ratio is 1.1. The code that judges is the page's own.

``aa_false``: A/A experiments in which any verdict was given; ``ab_found``: A/B experiments in which B's median was
called slower; ``ab_covered``: those whose 95% interval of the median contains 1.1. The table compares methods and
numbers of rounds, with 2,000 experiments each on the rounds' medians.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.needs import Figures, output_file, positive, require, run, why_no_packages
from benchmarks.rounds import ROUNDS_FILE

FEWEST_RECORDED = 4
"""Two pairs: a single pair has no spread."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.verdicts", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--experiments", type=positive, default=40, help="experiments of each kind, A/A and A/B (40)")
    parser.add_argument("--rounds", type=positive, default=20, help="rounds of each experiment (20)")
    parser.add_argument("--recorded", type=Path, default=ROUNDS_FILE, help="the file that benchmarks.rounds wrote")
    parser.add_argument("--json", type=output_file, help="write all figures there")
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error("an experiment needs at least 2 rounds (--rounds)")
    if not arguments.recorded.is_file():
        parser.error(f"{arguments.recorded} does not exist; record rounds with python -m benchmarks.rounds")
    require(why_no_packages("numpy", "pandas", "scipy"))
    measure(arguments)
    return 0


def measure(arguments: argparse.Namespace) -> None:
    import numpy as np

    from analysis.judge.verdicts import ALPHA, JUDGED, rounds_needed
    from benchmarks.verdict_odds import INJECTED, SEED, coverage, experiment, pair_logs, read_pool

    try:
        pool = read_pool(arguments.recorded)
    except (ValueError, KeyError, EOFError) as error:
        require(f"{arguments.recorded} is not what benchmarks.rounds writes ({error}); name another file (--recorded)")
    if len(pool) < FEWEST_RECORDED:
        require(f"{arguments.recorded} holds {len(pool)} rounds; record at least {FEWEST_RECORDED} (benchmarks.rounds)")
    noise = np.random.default_rng(SEED)
    same = [experiment(pool, arguments.rounds, 1.0, noise) for _ in range(arguments.experiments)]
    slower = [experiment(pool, arguments.rounds, INJECTED, noise) for _ in range(arguments.experiments)]
    logs = pair_logs(pool)
    spread = float(logs.std(ddof=1))
    figures = Figures(arguments.json)
    figures.keep(
        experiments=arguments.experiments,
        rounds=arguments.rounds,
        aa_false=sum(drawn["any_verdict"] for drawn in same),
        ab_found=sum(drawn["found"] for drawn in slower),
        ab_covered=sum(drawn["low"] <= INJECTED <= drawn["high"] for drawn in slower),
        recorded_rounds=len(pool),
        spread_of_pairs=spread,
        rounds_needed_for_10_percent=rounds_needed(spread, np.log(INJECTED), ALPHA / len(JUDGED)),
    )
    for name, value in figures.items():
        print(f"{name:<30} {value:10.4g}", flush=True)
    figures.keep(aa=same, ab=slower)
    table = coverage(logs, np.random.default_rng(SEED))
    figures.keep(coverage=table.to_dict("records"))
    print("\n95% intervals that contain the true value, and 10% differences that were found, in % of the experiments")
    print(table.to_string(index=False))


if __name__ == "__main__":
    sys.exit(run(main))
