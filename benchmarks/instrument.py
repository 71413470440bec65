"""Whether the instrument is fit to measure deployments: what its client costs, how far rounds spread, and how often the
verdicts are right.

    python -m benchmarks.instrument [--alternations 5] [--rounds 10] [--recorded FILE] [--json FILE]

It takes about 25 minutes: 2 for an experiment with the host process, 5 for the client, the rest for the rounds. Leave
the machine alone meanwhile.

``parts_gap``: how far client, network, queue and model together are from the median response time, as a share of it,
from an experiment of three rounds. ``client_...`` and ``..._ratio_to_wrk``: what the client of the load costs beside
Locust's FastHttpUser and wrk, with the monitor off; medians of the alternations. ``round_spread``: the standard
deviation of the logarithm of a round's ratio, where the host process is compared with itself, in blocks;
``round_spread_turns``: the same with one after another. Both kinds of rounds take turns. ``aa_false``, ``ab_found``,
``ab_covered`` and ``ab5_found``: as in benchmarks.verdicts, drawn from the rounds in blocks of this run, or from those
of ``--recorded``.

Exit code: 1 if a figure misses its limit, or could not be measured.
"""

from __future__ import annotations

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.needs import Figures, output_file, positive, require, run, why_no_packages, why_no_program
from benchmarks.rounds import ROOT, free_port, record_blocks, record_turns
from infra.environment import for_python

if TYPE_CHECKING:
    import pandas as pd

FEWEST_ROUNDS = 7
CLIENT_S = 5.0
EXPERIMENTS = 40


@dataclass(frozen=True)
class Limit:
    """What a figure may be at most, or must be at least. ``users``: it is one of a figure by number of users.
    ``share_of``: the bound is this share of another figure."""

    key: str
    bound: float
    is_least: bool = False
    users: int | None = None
    share_of: str | None = None

    @property
    def name(self) -> str:
        return self.key if self.users is None else f"{self.key}, {self.users} user{'s' if self.users > 1 else ''}"

    def value(self, figures: Mapping[str, Any]) -> float:
        """The figure; NaN if it was not measured."""
        found = figures.get(self.key)
        if self.users is not None:
            found = (found or {}).get(str(self.users))
        return math.nan if found is None else float(found)

    def bound_in(self, figures: Mapping[str, Any]) -> float:
        """The bound; NaN if it is the share of a figure that was not measured."""
        return self.bound if self.share_of is None else self.bound * float(figures.get(self.share_of, math.nan))

    def holds(self, figures: Mapping[str, Any]) -> bool:
        value, bound = self.value(figures), self.bound_in(figures)
        return value >= bound if self.is_least else value <= bound


LIMITS = (
    Limit("client_cpu_ms_per_request", 0.25),
    Limit("client_cpu_ratio", 0.4),
    Limit("p50_ratio_to_wrk", 1.10, users=1),
    Limit("p50_ratio_to_wrk", 1.10, users=8),
    Limit("p50_ratio_to_wrk", 1.35, users=32),
    Limit("throughput_ratio_to_wrk", 0.90, is_least=True, users=1),
    Limit("throughput_ratio_to_wrk", 0.90, is_least=True, users=8),
    Limit("round_spread", 0.45, share_of="round_spread_turns"),
    Limit("aa_false", 3),
    Limit("ab_found", 36, is_least=True),
    Limit("ab_covered", 36, is_least=True),
    Limit("ab5_found", 36, is_least=True),
    Limit("parts_gap", 0.03),
)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instrument", description=(__doc__ or "").split("\n\n", 1)[0].replace("\n", " ")
    )
    parser.add_argument("--alternations", type=positive, default=5, help="of the clients (5)")
    parser.add_argument("--rounds", type=positive, default=10, help=f"of each kind (10; at least {FEWEST_ROUNDS})")
    parser.add_argument("--recorded", type=Path, help="draw experiments from what benchmarks.rounds wrote there")
    parser.add_argument("--json", type=output_file, help="write all figures there")
    arguments = parser.parse_args()
    if arguments.rounds < FEWEST_ROUNDS:
        parser.error(f"a spread needs at least {FEWEST_ROUNDS} rounds (--rounds)")
    if arguments.recorded is not None and not arguments.recorded.is_file():
        parser.error(f"{arguments.recorded} is not there; record rounds with python -m benchmarks.rounds")
    require(
        why_no_packages("numpy", "pandas", "scipy", "psutil", "requests", "locust", "uvicorn", "onnxruntime"),
        why_no_program("wrk"),
    )
    figures = Figures(arguments.json)
    measure(figures, arguments)
    lines, all_hold = verdict(figures)
    print("\n".join(lines))
    return 0 if all_hold else 1


def measure(figures: Figures, arguments: argparse.Namespace) -> None:
    """Measure everything; ``figures`` keeps each part as soon as it is known."""
    from benchmarks.instrument_client import measure_client
    from infra.experiment.plan import Plan

    figures.keep(**measure_parts())
    figures.keep(**measure_client(arguments.alternations, CLIENT_S, _say))
    rounds: list[pd.DataFrame] = []
    turns: list[float] = []
    for number in range(1, arguments.rounds + 1):
        _say(f"rounds, number {number} of {arguments.rounds}, in blocks and in turns ...")
        rounds.append(record_blocks(number, Plan()))
        turns.append(record_turns(Plan()))
        figures.keep(**spreads(rounds, turns))
    figures.keep(**_odds(rounds, arguments.recorded))


def measure_parts() -> dict[str, Any]:
    """The parts of the response time and its median in an experiment with the host process, in ms, and the gap between
    their sum and the median, as a share of it; or ``parts_missing``, why they are not known."""
    from analysis.analyse import analyse
    from analysis.judge.doubts import INVALID_EXIT_CODE
    from analysis.measure.parts import PARTS
    from analysis.read.results import read_results

    _say("an experiment with the host process ...")
    environment = for_python() | {"INFERENCE_MODEL": str(ROOT / "inference" / "bundled_model")}
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "infra", "run", "--only", "host", "--set", "rounds=3", "--results", name]
        command += ["--port", f"host={free_port()}"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in (0, INVALID_EXIT_CODE):
            done.check_returncode()
        (folder,) = Path(name).iterdir()
        analysis = analyse(read_results(folder))
    summary = analysis.loads[0].summary if analysis.loads else {}
    told = {key: summary[key] for key in (*PARTS, "median_ms") if key in summary}
    reasons = [doubt.text for doubt in analysis.validity.invalid]
    reasons += [f"{key}: {part.missing}" for key, part in told.items() if not part.is_measured]
    if reasons or len(told) <= len(PARTS):
        _say(f"the parts are not known: {'; '.join(reasons) or 'nothing was measured'}")
        return {"parts_missing": reasons}
    values = {key: part.value for key, part in told.items()}
    return values | {"parts_gap": gap([values[key] for key in PARTS], values["median_ms"])}


def gap(parts: Sequence[float], whole: float) -> float:
    """How far the parts together are from the whole, as a share of it."""
    return abs(sum(parts) - whole) / whole


def spreads(rounds: list[pd.DataFrame], turns: list[float]) -> dict[str, Any]:
    """The logarithms of the ratios of the rounds so far, and their standard deviations as soon as there are two."""
    import pandas as pd

    from benchmarks.verdict_odds import pool_of

    logs = pool_of(pd.concat(rounds)).logs[:, 0].tolist()
    known = {"round_logs": logs, "round_logs_turns": list(turns)}
    if len(logs) < 2:
        return known
    return known | {"round_spread": statistics.stdev(logs), "round_spread_turns": statistics.stdev(turns)}


def _odds(rounds: list[pd.DataFrame], recorded: Path | None) -> dict[str, Any]:
    import pandas as pd

    from benchmarks.verdict_odds import odds, pool_of, read_pool
    from infra.experiment.plan import Plan

    pool = pool_of(pd.concat(rounds)) if recorded is None else read_pool(recorded)
    minutes = Plan().budget_minutes
    budget = {"pool_rounds": len(pool.logs), "pool_spread": pool.spread, "budget_rounds": int(pool.rounds_in(minutes))}
    return budget | odds(pool, EXPERIMENTS, minutes)


def verdict(figures: Mapping[str, Any]) -> tuple[list[str], bool]:
    """The lines of a table of all limits, and whether all hold."""
    head = f"{'figure':<34} {'value':>10}  {'limit':<44} holds"
    lines = [head, *(_line(limit, figures) for limit in LIMITS)]
    return lines, all(limit.holds(figures) for limit in LIMITS)


def _line(limit: Limit, figures: Mapping[str, Any]) -> str:
    value = limit.value(figures)
    shown = "unknown" if math.isnan(value) else f"{value:.4g}"
    share = "" if limit.share_of is None else f" ({limit.bound:g} x {limit.share_of})"
    bound = f"{'at least' if limit.is_least else 'at most'} {limit.bound_in(figures):.4g}{share}"
    return f"{limit.name:<34} {shown:>10}  {bound:<44} {'yes' if limit.holds(figures) else 'NO'}"


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(run(main))
