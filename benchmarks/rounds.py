"""Records rounds of the host process with the bundled model, for benchmarks.verdicts to draw from.

    python -m benchmarks.rounds [--rounds 64] [--users 8] [--seconds 5] [--output benchmarks/rounds.csv.gz]

Each round starts the service, loads it after a second of warm-up, and ends it, as a round of an experiment does. So the
rounds differ by what really changes between two starts of the same service on this machine.

After each round all rounds so far are written to ``unfinished-NAME`` beside the output: whole, whenever Ctrl-C comes.
After the last round that file is renamed to the output.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.needs import output_file, positive, require, run, why_no_packages
from infra.environment import for_load, for_service
from infra.errors import DeploymentError
from runfiles.events import MEASURED, PROCESS
from runfiles.files import REQUESTS_SUFFIX, RUN_RECORD_SUFFIX

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
ROUNDS_FILE = ROOT / "benchmarks" / "rounds.csv.gz"
WARM_UP_S = 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounds", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=positive, default=64)
    parser.add_argument("--users", type=positive, default=8)
    parser.add_argument("--seconds", type=positive, default=5, help="seconds of load that each round records (5)")
    parser.add_argument(
        "--output", type=output_file, default=str(ROUNDS_FILE), help="CSV file, compressed if the name ends with .gz"
    )
    arguments = parser.parse_args()
    require(why_no_packages("pandas", "requests", "locust", "uvicorn", "onnxruntime"))
    unfinished = arguments.output.with_name(f"unfinished-{arguments.output.name}")
    unfinished.unlink(missing_ok=True)
    rounds: list[pd.DataFrame] = []
    for number in range(1, arguments.rounds + 1):
        rows = record_round(arguments.users, arguments.seconds).assign(round=number)
        rounds.append(rows[["round", "sent_s", "response_time_ms"]])
        write_rounds(rounds, unfinished)
        median = rows["response_time_ms"].median()
        print(f"round {number} of {arguments.rounds}: {len(rows):,} requests, median {median:.2f} ms", flush=True)
    unfinished.replace(arguments.output)
    return 0


def write_rounds(rounds: Sequence[pd.DataFrame], path: Path) -> None:
    """Write the file whole, or leave the old one as it is."""
    import pandas as pd

    new = path.with_name(f"new-{path.name}")  # the end of the name says how it is compressed
    try:
        pd.concat(rounds).to_csv(new, index=False)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def record_round(users: int, seconds: int) -> pd.DataFrame:
    """The measured requests of one start of the service: when each was sent, after the warm-up, and its time."""
    import pandas as pd

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_service(folder) as (url, pid):
            command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "keep_alive.py"), "--headless"]
            command += ["-u", str(users), "-r", str(users), "-t", str(seconds + WARM_UP_S), "--host", url]
            command += ["--warm-up", str(WARM_UP_S), "--csv", f"{folder}/run", "--replicas", f"{PROCESS}:{pid}"]
            subprocess.run(command, cwd=folder, env=for_load(folder), capture_output=True, check=True)
        requests = pd.read_csv(f"{folder}/run{REQUESTS_SUFFIX}")
        began = json.loads(Path(f"{folder}/run{RUN_RECORD_SUFFIX}").read_text())["started_at_unix_s"]
    requests = requests[requests["phase"] == MEASURED]
    return pd.DataFrame(
        {
            "sent_s": (requests["started_at_unix_s"] - began - WARM_UP_S).round(1),
            "response_time_ms": requests["response_time_ms"].round(2),
        }
    )


@contextmanager
def running_service(folder: Path) -> Iterator[tuple[str, int]]:
    """The URL and the process ID of a service that has answered its health check; it ends with the block.

    Raises:
        DeploymentError: it does not become healthy.
    """
    from infra.deployments.waiting import until_healthy

    def evidence() -> str:
        said = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        if service.poll() is not None:
            raise DeploymentError(f"the service ended with exit code {service.returncode}: {said}")
        return said

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    own = {"HOST": "127.0.0.1", "PORT": str(port), "METRICS_LOG_FILE": str(folder / "metrics.csv")}
    own["INFERENCE_MODEL"] = str(ROOT / "inference" / "bundled_model")
    log = folder / "service.log"
    with log.open("wb") as output:
        service = subprocess.Popen(
            [sys.executable, "-m", "inference"],
            cwd=ROOT,
            env=for_service() | own,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until_healthy(url, 60, evidence)
        yield url, service.pid
    finally:
        service.terminate()
        service.wait(40)


if __name__ == "__main__":
    sys.exit(run(main))
