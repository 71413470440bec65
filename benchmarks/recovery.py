"""Whether what Fourfold says of a killed service agrees with what a plain client sees that knows nothing of Fourfold.

    python -m benchmarks.recovery [--only docker,compose] [--rounds 3] [--json FILE]

While ``python -m infra run plans/kill_one.toml`` measures, a second program asks the same service 20 times a second,
each time over a new connection, and notes when it got no answer. For each round the table has the requests that were
lost and when the last request failed, by both. They should agree within one request and one second.
A round takes about 45 s.

Exit code: 1 if they do not agree in some round.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.needs import Figures, output_file, positive, require, run, why_no_packages
from benchmarks.plain_client import Asked, asking

ROOT = Path(__file__).resolve().parents[1]
EVERY_S = 0.05
TIMEOUT_S = 2.0
CLOSE_S, CLOSE_REQUESTS = 1.0, 1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recovery", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--only", default="docker,compose", help="deployments, by commas (docker,compose)")
    parser.add_argument("--rounds", type=positive, default=3, help="of each deployment (3)")
    parser.add_argument("--json", type=output_file, help="write the table there")
    arguments = parser.parse_args()
    require(why_no_packages("psutil", "pandas", "docker"))
    from infra.deployments.settings import Settings
    from infra.deployments.table import BY_NAME, PORTS

    names = arguments.only.split(",")
    if unknown := [name for name in names if name not in BY_NAME]:
        parser.error(f"there is no deployment {unknown[0]!r}")
    figures = Figures(arguments.json, every_s=EVERY_S, rounds=arguments.rounds)
    rows: list[dict[str, Any]] = []
    print(f"{'deployment':<12} {'round':>5} {'lost':>6} {'client':>7} {'last failed':>11} {'client':>8}")
    for name in names:
        url = BY_NAME[name].facts.url(Settings(ports=PORTS))
        with asking(url, EVERY_S, TIMEOUT_S) as asked, TemporaryDirectory(prefix="fourfold-") as folder:
            rows += _measure(name, arguments.rounds, Path(folder), asked)
        figures.keep(rows=rows)
    return int(not all(row["agrees"] for row in rows))


def _measure(name: str, rounds: int, results: Path, asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """A row for each round of a deployment."""
    from analysis.measure.recovery import recoveries
    from analysis.read.results import read_results

    command = [sys.executable, "-m", "infra", "run", "plans/kill_one.toml", "--only", name, "--results", str(results)]
    command += ["--set", f"rounds={rounds}", f"rate={1 / EVERY_S:g}", "arrivals=constant", "user_class=new_connection"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    deployments = [each for folder in results.iterdir() for each in read_results(folder).deployments]
    deployment = next((each for each in deployments if each.name == name), None)
    if deployment is None or not deployment.loads:
        raise SystemExit(f"error: {name} was not measured: {done.stdout}{done.stderr}")
    return [_row(name, number, recoveries(load)[0], asked) for number, load in sorted(deployment.loads.items())]


def _row(name: str, number: int, said: Any, asked: Sequence[Asked]) -> dict[str, Any]:
    """What both say of one round; the client's requests count that were over after the change, and sent before the end
    of the load."""
    began = said.change.began_unix_s
    until = began + said.length_s
    own = sorted(
        (each.sent_unix_s - began, each.is_answered)
        for each in list(asked)  # it still grows
        if each.over_unix_s >= began and each.sent_unix_s < until
    )
    failed = [at for at, answered in own if not answered]
    ended_s = max(0.0, failed[-1]) if failed else 0.0
    lost, told = len(failed), said.times["last_failed_s"]
    agrees = abs(lost - said.lost) <= CLOSE_REQUESTS and abs(ended_s - told.value) <= CLOSE_S
    print(f"{name:<12} {number:>5} {said.lost:>6} {lost:>7} {told.value:>9.2f} s {ended_s:>6.2f} s", flush=True)
    return {
        "deployment": name,
        "round": number,
        "lost": said.lost,
        "client_lost": lost,
        "last_failed_s": None if told.is_never else round(told.value, 3),
        "client_last_failed_s": round(ended_s, 3),
        "agrees": agrees,
    }


if __name__ == "__main__":
    sys.exit(run(main))
