"""How many requests a second one recording takes in from Locust's workers, and what that costs.

    python -m benchmarks.intake [--workers 16] [--rate 20000] [--replicas 200] [--seconds 60] [--json FILE]

The recording is that of a real Locust master with locustfiles/keep_alive.py. Its workers are simulated: they speak
Locust's protocol and send reports as ours do, but no requests (intake_workers.py). Its replicas are simulated too, and
sampled once a second (intake_replicas.py). At the end the rows of the CSV files are counted.

``rows_lost`` are requests that were reported and have no row, ``rows_twice`` those that have two, ``samples_lost``
those that are missing between the first and the last of a replica. ``behind_s`` is how long after its sending the last
report of a worker was taken in, ``most_behind_s`` that of any report. 100% of ``cpu_percent`` is one core; it is that
of the recording's process, Locust's own work included.

Exit code: 1 if a row or a sample was lost, or the recording fell more than a second behind.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.needs import (
    Figures,
    output_file,
    positive,
    require,
    run,
    temporary_folder,
    why_no_packages,
    why_no_space,
)
from benchmarks.rounds import free_port
from infra.environment import for_load
from infra.errors import DeploymentError
from runfiles.files import REPLICA_STATS_SUFFIX, REQUESTS_SUFFIX, RUN_RECORD_SUFFIX

ROOT = Path(__file__).resolve().parents[1]
LOCUSTFILES = (ROOT / "locustfiles" / "keep_alive.py", ROOT / "benchmarks" / "intake_replicas.py")
REPLICAS_VARIABLE = "FOURFOLD_SIMULATED_REPLICAS"
FIGURES_SUFFIX = "_intake.json"
ROW_BYTES = 250
MOST_BEHIND_S = 1.0
LEAST_S = 10
LONGEST_REST_S = 120.0
"""What all else than the load may take: to begin, and to write what is left."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intake", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--workers", type=positive, default=16, help="that are simulated (16)")
    parser.add_argument("--rate", type=positive, default=20_000, help="requests that all report per second (20000)")
    parser.add_argument("--replicas", type=positive, default=200, help="that are sampled once a second (200)")
    parser.add_argument("--seconds", type=positive, default=60, help="of the load (60)")
    parser.add_argument("--json", type=output_file, help="write the figures there")
    arguments = parser.parse_args()
    if arguments.seconds < LEAST_S:
        parser.error(f"each worker reports every three seconds, so at least {LEAST_S} are needed (--seconds)")
    require(
        why_no_packages("locust", "numpy", "psutil"),
        why_no_space(temporary_folder(), arguments.rate * arguments.seconds * ROW_BYTES),
    )
    figures = Figures(arguments.json, workers=arguments.workers, replicas=arguments.replicas)
    with tempfile.TemporaryDirectory() as name:
        figures.keep(**measured(Path(name), arguments))
    for key, value in figures.items():
        print(f"{key:<26} {value:>12,.3f}".rstrip("0").rstrip("."))
    is_whole = not (figures["rows_lost"] or figures["rows_twice"] or figures["samples_lost"])
    return 0 if is_whole and figures["behind_s"] <= MOST_BEHIND_S else 1


def measured(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one recording.

    Raises:
        DeploymentError: Locust or the simulated workers failed.
    """
    prefix, port = str(folder / "run"), free_port()
    command = [sys.executable, "-m", "locust", "-f", ",".join(map(str, LOCUSTFILES)), "--headless", "--only-summary"]
    command += ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
    command += ["--expect-workers", str(arguments.workers), "-u", str(arguments.workers), "-r", str(arguments.workers)]
    command += ["-t", str(arguments.seconds), "--host", "http://127.0.0.1:9", "--replicas", "swarm:simulated"]
    command += ["--replica-interval", "1", "--csv", prefix]
    log = folder / "locust.log"
    environment = for_load(folder) | {REPLICAS_VARIABLE: str(arguments.replicas)}
    with (
        log.open("w") as output,
        subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=environment) as master,
    ):
        try:
            sent = workers(folder, port, arguments)
            master.wait(LONGEST_REST_S)
        except subprocess.TimeoutExpired as error:
            raise DeploymentError(f"the recording did not end: {log.read_text()[-2000:]}") from error
        finally:
            master.kill()
    if master.returncode != 0:
        raise DeploymentError(f"Locust ended with exit code {master.returncode}: {log.read_text()[-2000:]}")
    record = json.loads(Path(f"{prefix}{RUN_RECORD_SUFFIX}").read_text())
    rows, different = rows_of(Path(f"{prefix}{REQUESTS_SUFFIX}"))
    samples, lost = samples_of(Path(f"{prefix}{REPLICA_STATS_SUFFIX}"))
    own = json.loads(Path(f"{prefix}{FIGURES_SUFFIX}").read_text())
    return {
        "seconds": arguments.seconds,
        "requests_per_s": sent["rows_per_s"] * different / sent["rows"],
        "rows": rows,
        "rows_lost": sent["rows"] - different,
        "rows_twice": rows - different,
        "faults": len(record["faults"]),
        "samples": samples,
        "samples_lost": lost,
        "senders_cpu_percent": sent["cpu_percent"],
        **own,
        "cpu_ms_per_1000_requests": own["cpu_percent"] / 100 * own["counted_s"] * 1e6 / max(1, own["counted_rows"]),
    }


def workers(folder: Path, port: int, arguments: argparse.Namespace) -> dict[str, float]:
    """What the simulated workers have sent, once they have ended."""
    command = [sys.executable, "-m", "benchmarks.intake_workers", str(port), str(arguments.workers)]
    command += [str(arguments.rate), str(arguments.replicas)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=for_load(folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=arguments.seconds + LONGEST_REST_S,
    )
    sent: dict[str, float] = json.loads(done.stdout)
    return sent


def rows_of(path: Path) -> tuple[int, int]:
    """How many requests a file has, and how many of them are different. Each was sent at a time of its own."""
    rows, sent = 0, set()
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        fields = len(next(lines))
        for row in lines:
            if len(row) != fields or not all(row[:3]):
                raise DeploymentError(f"{path.name} has a row that is none: {row}")
            rows += 1
            sent.add((row[0], row[1]))
    return rows, len(sent)


def samples_of(path: Path) -> tuple[int, int]:
    """How many samples a file has, and how many are missing between the first and the last of each replica."""
    at: defaultdict[str, list[float]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            at[row["replica"]].append(float(row["sampled_at_unix_s"]))
    gaps = [later - earlier for own in at.values() for earlier, later in itertools.pairwise(own)]
    return sum(map(len, at.values())), sum(max(0, round(gap) - 1) for gap in gaps)


if __name__ == "__main__":
    sys.exit(run(main))
