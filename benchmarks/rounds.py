"""Records rounds of one deployment, the host process with the bundled model: what benchmarks.verdicts draws from.

    python -m benchmarks.rounds [--rounds 64] [--users 8] [--seconds 5] [--output benchmarks/rounds.csv.gz]

Each round starts the service anew, loads it after a second of warm-up, and ends it, as a round of an experiment does.
So the rounds differ by what really changes between two starts of the same thing on this machine.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

import runfiles
from infra.environment import for_load, for_service
from infra.settings import ROOT
from infra.waiting import until_healthy

ROUNDS_FILE = ROOT / "benchmarks" / "rounds.csv.gz"
WARM_UP_S = 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=64)
    parser.add_argument("--users", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=5, help="of load that are recorded in each round (5)")
    parser.add_argument("--output", type=Path, default=ROUNDS_FILE)
    arguments = parser.parse_args()
    rounds = []
    for number in range(1, arguments.rounds + 1):
        rounds.append(one_round(arguments.users, arguments.seconds).assign(round=number))
        pd.concat(rounds)[["round", "sent_s", "response_time_ms"]].to_csv(arguments.output, index=False)
        median = rounds[-1]["response_time_ms"].median()
        print(f"round {number} of {arguments.rounds}: {len(rounds[-1]):,} requests, median {median:.2f} ms", flush=True)
    return 0


def one_round(users: int, seconds: int) -> pd.DataFrame:
    """The measured requests of one start of the service: when each was sent, after the warm-up, and its time."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        own = {"HOST": "127.0.0.1", "PORT": str(port), "METRICS_LOG_FILE": f"{folder}/metrics.csv"}
        own["INFERENCE_MODEL"] = str(ROOT / "inference" / "bundled_model")
        service = subprocess.Popen(
            [sys.executable, "-m", "inference"],
            cwd=ROOT,
            env=for_service() | own,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until_healthy(url, 60, lambda: None)
            command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "keep_alive.py"), "--headless"]
            command += ["-u", str(users), "-r", str(users), "-t", str(seconds + WARM_UP_S), "--host", url]
            command += ["--warm-up", str(WARM_UP_S), "--csv", f"{folder}/run", "--replicas", f"process:{service.pid}"]
            subprocess.run(command, cwd=folder, env=for_load(Path(folder)), capture_output=True, check=True)
        finally:
            service.terminate()
            service.wait(40)
        requests = pd.read_csv(f"{folder}/run{runfiles.REQUESTS_SUFFIX}")
        began = json.loads(Path(f"{folder}/run{runfiles.RUN_RECORD_SUFFIX}").read_text())["started_at_unix_s"]
    requests = requests[requests["phase"] == runfiles.MEASURED]
    return pd.DataFrame(
        {
            "sent_s": (requests["started_at_unix_s"] - began - WARM_UP_S).round(1),
            "response_time_ms": requests["response_time_ms"].round(2),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
