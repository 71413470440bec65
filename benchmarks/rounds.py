"""Records rounds in which the host process is compared with itself, for benchmarks.verdicts to draw from.

    python -m benchmarks.rounds [--rounds 24] [--seconds 8] [--output benchmarks/rounds.csv.gz]

Each round starts two services with the bundled model, side by side, as two deployments of one group. One load visits
them in blocks, as the default plan says. So the two differ only by what differs between two starts of the same service.
A round takes about 45 s.

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
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.needs import output_file, positive, require, run, why_no_packages
from infra.environment import for_service
from infra.errors import DeploymentError
from runfiles.events import MEASURED, PROCESS
from runfiles.files import BLOCKS_SUFFIX, LOAD, REQUESTS_SUFFIX

if TYPE_CHECKING:
    import pandas as pd

    from infra.deployments.service import Service
    from infra.experiment.load import Target
    from infra.experiment.plan import Plan

ROOT = Path(__file__).resolve().parents[1]
ROUNDS_FILE = ROOT / "benchmarks" / "rounds.csv.gz"
COLUMNS = ("round", "seconds", "cycle", "target", "response_time_ms")
PAIR = (1, 2)
"""The two services of a round, the targets of its load."""

LOCUST_START_S = 2.5
"""What the start of one Locust and the end of its run take."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounds", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=positive, default=24)
    parser.add_argument("--seconds", type=positive, default=8, help="measured seconds of each service in a round (8)")
    parser.add_argument(
        "--output", type=output_file, default=str(ROUNDS_FILE), help="CSV file, compressed if the name ends with .gz"
    )
    arguments = parser.parse_args()
    require(why_no_packages("pandas", "psutil", "requests", "locust", "uvicorn", "onnxruntime"))
    record(arguments)
    return 0


def record(arguments: argparse.Namespace) -> None:
    from infra.experiment.plan import Plan

    plan = Plan(seconds=arguments.seconds)
    unfinished = arguments.output.with_name(f"unfinished-{arguments.output.name}")
    unfinished.unlink(missing_ok=True)
    rounds: list[pd.DataFrame] = []
    for number in range(1, arguments.rounds + 1):
        rounds.append(record_blocks(number, plan))
        write_rounds(rounds, unfinished)
        medians = rounds[-1].groupby("target")["response_time_ms"].median()
        print(f"round {number} of {arguments.rounds}: medians {medians[1]:.2f} and {medians[2]:.2f} ms", flush=True)
    unfinished.replace(arguments.output)


def write_rounds(rounds: Sequence[pd.DataFrame], path: Path) -> None:
    """Write the file whole, or leave the old one as it is."""
    import pandas as pd

    new = path.with_name(f"new-{path.name}")  # the end of the name says how it is compressed
    try:
        pd.concat(rounds).to_csv(new, index=False)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def record_blocks(number: int, plan: Plan) -> pd.DataFrame:
    """A round in blocks, as a plan says, with the columns ``COLUMNS``: the answered requests of its measured blocks.

    ``seconds`` is what such a round takes in an experiment: as long as this one, and the single passes.

    Raises:
        DeploymentError: a service or Locust failed.
    """
    import pandas as pd

    from infra.experiment.bench import repeat_s
    from infra.experiment.blocks import blocks_of
    from infra.experiment.journal import Step
    from infra.experiment.load import Target

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, ExitStack() as services:
        folders = {str(target): Path(name, str(target)) for target in PAIR}
        running = {target: services.enter_context(running_service(folder)) for target, folder in folders.items()}
        said = {target: (url, service.replicas, folders[target] / LOAD) for target, (url, service) in running.items()}
        blocks = Path(name, "blocks.json")
        blocks.write_text(json.dumps(blocks_of(plan, Step(number, tuple(said), 1), said)))
        targets = [Target(target, folders[target] / LOAD, service) for target, (_, service) in running.items()]
        _load(plan, Path(name), ["--blocks", str(blocks)], targets)
        parts = [answered_blocks(each.prefix).assign(target=int(each.deployment)) for each in targets]
    seconds = time.monotonic() - began + len(PAIR) * (repeat_s(plan) + LOCUST_START_S) + plan.rest_s
    rows = pd.concat(parts).assign(round=number, seconds=round(seconds, 1))
    return rows.sort_values(["cycle", "target", "response_time_ms"])[[*COLUMNS]]  # in this order the file is smallest


def answered_blocks(prefix: Path) -> pd.DataFrame:
    """The cycle and the response time of each answered request that was sent in a measured block of a run."""
    import pandas as pd

    blocks = pd.read_csv(f"{prefix}{BLOCKS_SUFFIX}")
    requests = pd.read_csv(f"{prefix}{REQUESTS_SUFFIX}", keep_default_na=False, na_values={"block": ""})
    answered = requests[(requests["phase"] == MEASURED) & (requests["error"] == "")]
    cycles = blocks[blocks["phase"] == MEASURED].set_index("block")["cycle"]
    kept = answered[answered["block"].isin(cycles.index)]
    times_ms = kept["response_time_ms"].astype(float).round(2)
    return pd.DataFrame({"cycle": cycles.loc[kept["block"]].to_numpy(), "response_time_ms": times_ms.to_numpy()})


def record_turns(plan: Plan) -> float:
    """The same comparison one after another, each service started for its turn: the logarithm of the ratio of the
    medians.

    Raises:
        DeploymentError: a service or Locust failed.
    """
    import numpy as np
    import pandas as pd

    from infra.experiment.load import Target

    medians = []
    for _ in PAIR:
        with tempfile.TemporaryDirectory() as name, running_service(Path(name, "service")) as (url, service):
            arguments = ["--host", url, "--replicas", service.replicas, "--warm-up", str(plan.warm_up_s)]
            arguments += ["--run-time", str(plan.warm_up_s + plan.seconds)]
            prefix = Path(name, LOAD)
            _load(plan, Path(name), arguments, [Target("host", prefix, service)])
            requests = pd.read_csv(f"{prefix}{REQUESTS_SUFFIX}", keep_default_na=False)
        answered = requests[(requests["phase"] == MEASURED) & (requests["error"] == "")]
        medians.append(float(answered["response_time_ms"].astype(float).median()))
    return float(np.log(medians[1] / medians[0]))


def _load(plan: Plan, folder: Path, arguments: Sequence[str], targets: Sequence[Target]) -> None:
    """Send the load of a plan.

    Raises:
        DeploymentError: it is not whole.
    """
    from infra.experiment.load import Load, run_locust

    users = ["--users", str(plan.users), "--spawn-rate", str(plan.users), "--seed", str(plan.seed)]
    outcomes = run_locust(Load(plan.user_class, folder / LOAD, [*arguments, *users]), targets)
    if reasons := [outcome.reason for outcome in outcomes.values() if outcome.reason]:
        raise DeploymentError(reasons[0])


def free_port() -> int:
    """A port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_service(folder: Path) -> Iterator[tuple[str, Service]]:
    """The URL of a service with the bundled model that has answered its health check, and what Locust has to know of
    it. It ends with the block. ``folder`` is made for its files.

    Raises:
        DeploymentError: it does not become healthy.
    """
    from infra.deployments.ready import until_ready
    from infra.deployments.service import Service
    from infra.last_words import last_line, tail
    from runfiles.records import Limits
    from servicefile.service_file import read_service

    def gone() -> str | None:
        code = process.poll()
        return None if code is None else f"the service ended with exit code {code}: {last_line(tail(log))}"

    def evidence() -> str:
        if reason := gone():
            raise DeploymentError(reason)
        return last_line(tail(log))

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    folder.mkdir()
    metrics, log = folder / "metrics.csv", folder / "service.log"
    own = {"HOST": "127.0.0.1", "PORT": str(port), "METRICS_LOG_FILE": str(metrics)}
    own["INFERENCE_MODEL"] = str(ROOT / "inference" / "bundled_model")
    command = [sys.executable, "-m", "inference"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=for_service() | own, stdout=output, stderr=subprocess.STDOUT)
    try:
        until_ready(url, read_service(), 60, evidence)
        replicas = f"{PROCESS}:{process.pid}"
        yield url, Service(replicas, lambda _: [], str(metrics), Limits(), gone, lambda: last_line(tail(log)))
    finally:
        process.terminate()
        process.wait(40)


if __name__ == "__main__":
    sys.exit(run(main))
