"""What ending an experiment by precision does to intervals and verdicts, in simulated experiments without a difference.

    python -m benchmarks.stopping [--experiments 20000] [--json FILE]

Each experiment has two to five deployments, whose rounds differ by chance: normally, with heavy tails (Student's t with
three degrees of freedom), or with one round in ten four times as wide. Its rounds spread by 0.02 to 0.12 (a pair's log
ratio of the medians; those of the p95 by 1.3 times as much), and its time is enough for 5 to 30 rounds. All pairs are
judged, by median and p95, with Holm's correction, as for the page. The table has the worst cases of each rule: the
lowest and the highest share of intervals that hold the truth, and the largest share of pages with a false verdict. It
takes two minutes.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.needs import Figures, output_file, positive, require, run, why_no_packages

if TYPE_CHECKING:
    import numpy as np

SPREADS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.12)
BUDGETS = (5, 6, 8, 12, 20, 30)
DEPLOYMENTS = (2, 3, 5)
PRECISION = 0.05
P95_SPREAD, P95_CORRELATION = 1.3, 0.7
NOISES = ("normal", "heavy tails", "wide rounds")
RULES = {
    "never": (999, 0.0),
    "from round 3": (3, 0.0),
    "from round 4": (4, 0.0),
    "from round 5": (5, 0.0),
    "from round 6": (6, 0.0),
    "from round 5 and 2/3 of the budget": (5, 2 / 3),
    "from round 5 and 3/4 of the budget": (5, 3 / 4),
}
"""When precision may end an experiment: the fewest rounds, and the share of the budget that is used."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stopping", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--experiments", type=positive, default=20_000, help="of each case (20000)")
    parser.add_argument("--json", type=output_file, help="write the table there")
    arguments = parser.parse_args()
    require(why_no_packages("numpy", "scipy"))
    figures = Figures(arguments.json, experiments=arguments.experiments)
    rows = []
    print(f"{'ends by precision':<36} {'deployments':>11} {'holds the truth':>16} {'false verdict':>14}")
    for row in worst_cases(arguments.experiments):
        rows.append(row)
        figures.keep(rows=rows)
        held = f"{row['least_held']:.1f} to {row['most_held']:.1f}"
        print(f"{row['rule']:<36} {row['deployments']:>11} {held:>16} {row['most_false']:>14.1f}", flush=True)
    return 0


def worst_cases(experiments: int) -> Iterator[dict[str, Any]]:
    """For each rule and number of deployments the worst of all noises, spreads and budgets, in percent."""
    import numpy as np

    for deployments in DEPLOYMENTS:
        drawn = [Simulated(name, deployments, experiments, np.random.default_rng(1)) for name in NOISES]
        for rule, (fewest, share) in RULES.items():
            cases = [
                each.shares(spread, budget, max(fewest, math.ceil(share * budget)))
                for each in drawn
                for spread in SPREADS
                for budget in BUDGETS
            ]
            held, false = zip(*cases, strict=True)
            told = {"least_held": min(held), "most_held": max(held), "most_false": max(false)}
            yield {"rule": rule, "deployments": deployments} | {key: round(value, 1) for key, value in told.items()}


class Simulated:
    """Many experiments with rounds enough for the largest budget. Of each the means and standard deviations of all
    pairs are known after each round, in units of the spread; the first half of the pairs are medians."""

    def __init__(self, noise: str, deployments: int, experiments: int, chance: np.random.Generator) -> None:
        import numpy as np
        from scipy import special

        shape = (experiments, max(BUDGETS), deployments)
        median, other = (_noise(noise, shape, chance) / math.sqrt(2) for _ in range(2))
        p95 = P95_SPREAD * (P95_CORRELATION * median + math.sqrt(1 - P95_CORRELATION**2) * other)
        before, after = np.triu_indices(deployments, 1)
        pairs = np.concatenate([values[:, :, after] - values[:, :, before] for values in (median, p95)], axis=2)
        self._rounds = np.arange(1, max(BUDGETS) + 1)
        rounds = self._rounds[:, None]
        means = pairs.cumsum(1) / rounds
        errors = np.sqrt(((pairs**2).cumsum(1) / rounds - means**2).clip(1e-12) / np.maximum(rounds - 1, 1))
        arms = special.stdtrit(np.maximum(rounds - 1, 1), 0.975) * errors[:, :, : len(before)]
        self._half_widths = arms.max(2)
        self._p_values = 2 * special.stdtr(np.maximum(rounds - 1, 1), -np.abs(means) / errors)
        self._medians = len(before)

    def shares(self, spread: float, budget: int, fewest: int) -> tuple[float, float]:
        """How many intervals of a ratio of medians hold the truth, and how many experiments have any false verdict, in
        percent."""
        import numpy as np

        ends = (self._half_widths * spread <= math.log1p(PRECISION)) & (self._rounds >= fewest)
        ends[:, budget - 1 :] = True
        p_values = self._p_values[np.arange(len(ends)), ends.argmax(1)]
        held = p_values[:, : self._medians] > 0.05
        false = p_values.min(1) * p_values.shape[1] < 0.05  # the smallest decides, in Holm's method
        return float(held.mean() * 100), float(false.mean() * 100)


def _noise(name: str, shape: tuple[int, ...], chance: np.random.Generator) -> np.ndarray:
    """Independent values with a standard deviation of 1."""
    import numpy as np

    if name == "heavy tails":
        tailed: np.ndarray = chance.standard_t(3, shape) / math.sqrt(3)
        return tailed
    if name == "wide rounds":
        wide: np.ndarray = chance.standard_normal(shape) * np.where(chance.random(shape) < 0.1, 4, 1)
        return wide / math.sqrt(0.9 + 0.1 * 16)
    return chance.standard_normal(shape)


if __name__ == "__main__":
    sys.exit(run(main))
