"""How often the verdicts are right: experiments whose truth is known, drawn from recorded rounds of one deployment.

    python -m benchmarks.verdicts [--experiments 40] [--rounds 20] [--json FILE]

``rounds.csv.gz`` holds rounds of the host process, each with a start of its own (benchmarks.rounds recorded them). An
experiment draws pairs of rounds that ran one after another, as an interleaved experiment has them, and tosses which of
the two is A and which B; so how rounds differ is what was measured, and not a model of it. Within a round whole seconds
of requests are drawn anew, because requests of the same second are alike. A/A compares the two as they are: the truth
is 1. A/B makes each response time of B 10% longer: the truth is 1.1. Then the same code judges as for the page.

``aa_false``: A/A experiments in which any verdict was given; ``ab_found``: A/B experiments in which B's median was
called slower; ``ab_covered``: those whose 95% interval of the median holds 1.1. The table beside them says how methods
and numbers of rounds compare, from 2,000 experiments each on the rounds' medians.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.needs import Figures, output_file, positive, require, run, why_no_packages
from benchmarks.rounds import ROUNDS_FILE

FEWEST_RECORDED = 4
"""Two pairs: of one pair there is no spread."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.verdicts", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--experiments", type=positive, default=40, help="A/A, and as many A/B (40)")
    parser.add_argument("--rounds", type=positive, default=20, help="of each experiment (20)")
    parser.add_argument("--recorded", type=Path, default=ROUNDS_FILE, help="what benchmarks.rounds wrote")
    parser.add_argument("--json", type=output_file, help="write all figures there")
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error("an experiment needs at least 2 rounds (--rounds)")
    if not arguments.recorded.is_file():
        parser.error(f"{arguments.recorded} is not there; record rounds with python -m benchmarks.rounds")
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
        aa_false=sum(found["any_verdict"] for found in same),
        ab_found=sum(found["found"] for found in slower),
        ab_covered=sum(found["low"] <= INJECTED <= found["high"] for found in slower),
        recorded_rounds=len(pool),
        spread_of_pairs=spread,
        rounds_needed_for_10_percent=rounds_needed(spread, np.log(INJECTED), ALPHA / len(JUDGED)),
    )
    for name, value in figures.items():
        print(f"{name:<30} {value:10.4g}", flush=True)
    figures.keep(aa=same, ab=slower)
    table = coverage(logs, np.random.default_rng(SEED))
    figures.keep(coverage=table.to_dict("records"))
    print("\n95% intervals that hold the truth, and 10% differences that were found, in % of the experiments")
    print(table.to_string(index=False))


if __name__ == "__main__":
    sys.exit(run(main))
