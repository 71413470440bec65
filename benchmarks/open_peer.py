"""Our constant rate beside another tool's: do both measure the same response times of the same service?

    python -m benchmarks.open_peer [--alternations 5] [--seconds 20] [--peer h2load] [--seed 1] [--json FILE]

It takes 12 minutes. Leave the machine alone meanwhile. The service is benchmarks.queueing_server. It serves one request
at a time, in 10 ms on average, so it can serve 100 per second. locustfiles/open_load.py and the other tool take turns:
each sends 20, then 50, then 80 requests per second at equal distances. In one alternation both meet the same services,
one after the other, so the same requests have to wait, and equally long. The next alternation has other services, and
the other tool begins. The requests of the first two seconds are left out.

``perfect`` is what a client would measure that sends each request exactly at its time, and takes no time itself. So it
says which tool is wrong, if they differ.

Then open_load.py alone sends 2,000 requests per second to a server that answers at once. At most 1% of them may be more
than 10 ms late or not sent.

If other programs need the processors, both tools wait for them. Where you can't stop them, give the benchmark priority:
``sudo chrt --fifo 10 .venv/bin/python -m benchmarks.open_peer``.

Exit code: 1 if the median ratio of a p50 or a p99 is further than 10% from 1, or if the fast load was not kept up.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.needs import Figures, output_file, positive, require, run, why_no_packages
from benchmarks.open_peer_tools import MOST_IN_FLIGHT, TOOLS, WRITTEN, Tool, find_tool, why_no_tool
from benchmarks.queueing import LONGEST_START_S, OPEN_LOAD, ROOT, end, running_server
from benchmarks.queueing_cases import EXPONENTIAL
from infra.environment import for_load, for_python
from infra.errors import DeploymentError
from runfiles.events import LATE_MS, MEASURED
from runfiles.files import REQUESTS_SUFFIX, RUN_RECORD_SUFFIX
from runfiles.records import RunRecord

if TYPE_CHECKING:
    import pandas as pd

RATES_PER_S = (20, 50, 80)
"""20%, 50% and 80% of what the service can serve."""
SHARES = {"p50_ms": 0.5, "p99_ms": 0.99}
LEFT_OUT_S = 2
MOST_APART = 0.10
ROUNDED_MS = 0.001
FAST_RATE_PER_S, FAST_S = 2000, 10
MOST_NOT_IN_TIME = 0.01
SERVICE_FILE = "service.toml"
SERVICE = 'ready = "request"\nport = 5000\ncommand = "python -m benchmarks.queueing_server exponential"\n'
"""The service has no path that says who it is: if Locust asked there, all its requests would get later services."""
AT_ONCE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Run:
    """A run of open_load.py: the measured requests, in the order in which they were due, and the run's record."""

    requests: pd.DataFrame
    record: RunRecord


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.open_peer", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("--alternations", type=positive, default=5, help="of both tools (5)")
    parser.add_argument("--seconds", type=positive, default=20, help="of each load (20), without what is left out")
    names = [tool.name for tool in TOOLS]
    parser.add_argument("--peer", choices=names, help="the other tool (the first of these that is on the PATH)")
    parser.add_argument("--seed", type=positive, default=1, help="of the services (1)")
    parser.add_argument("--json", type=output_file, help="write all figures there")
    arguments = parser.parse_args()
    require(why_no_packages("numpy", "pandas", "scipy", "locust", "httptools"), why_no_tool(arguments.peer))
    peer = cast(Tool, find_tool(arguments.peer))
    figures = Figures(arguments.json, peer=peer.name, seconds=arguments.seconds, load_average=os.getloadavg()[0])
    measure(figures, peer, arguments)
    print("\n".join(table(figures)))
    return 0 if figures["all_hold"] else 1


def measure(figures: Figures, peer: Tool, arguments: argparse.Namespace) -> None:
    """Measure everything; ``figures`` keeps each alternation as soon as it is known.

    Raises:
        DeploymentError: the server, Locust or the other tool failed, or a request.
    """
    alternations: list[dict[str, Any]] = []
    for number in range(arguments.alternations):
        print(f"alternation {number + 1} of {arguments.alternations} ...", file=sys.stderr, flush=True)
        seed = arguments.seed * 1000 + number
        alternations.append({str(rate): alternate(peer, rate, arguments.seconds, seed, number) for rate in RATES_PER_S})
        figures.keep(alternations=alternations, ratios=ratios(alternations))
    print(f"{FAST_RATE_PER_S} requests per second ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as name, running_responder(Path(name)) as port:
        fast = in_time(run_ours(port, FAST_RATE_PER_S, FAST_S, Path(name)))
    apart = [each for each in figures["ratios"] if abs(math.log(each["median"])) > math.log1p(MOST_APART)]
    figures.keep(fast=fast, all_hold=not apart and fast["not_in_time"] <= MOST_NOT_IN_TIME)


def alternate(peer: Tool, rate_per_s: int, seconds: int, seed: int, number: int) -> dict[str, Any]:
    """The figures of ``ours`` and ``peer`` at one rate, each at a fresh server with the same services, and those of a
    perfect client. ``other_services``: how many requests of ours did not get the service that they should have got, as
    they overtook each other."""
    services_ms = services_of(seed, rate_per_s * (LEFT_OUT_S + seconds))
    found: dict[str, Any] = {"perfect": percentiles(perfect_times(services_ms, rate_per_s), rate_per_s, seconds)}
    for who in ("ours", "peer") if number % 2 == 0 else ("peer", "ours"):
        with running_server(EXPONENTIAL, seed) as port, tempfile.TemporaryDirectory() as name:
            if who == "peer":
                found[who] = percentiles(run_peer(peer, port, rate_per_s, seconds, Path(name)), rate_per_s, seconds)
                continue
            ours = run_ours(port, rate_per_s, seconds, Path(name))
            times_ms = ours.requests["response_time_ms"].tolist()
            found[who] = percentiles(times_ms, rate_per_s, seconds) | in_time(ours)
            got = zip(ours.requests["inference_ms"], services_ms, strict=False)
            found["other_services"] = sum(abs(mine - due) > ROUNDED_MS for mine, due in got)
    return found


def services_of(seed: int, number: int) -> list[float]:
    """The first services of the server with this seed, in ms."""
    from benchmarks.queueing_server import service_times

    next_s = service_times(EXPONENTIAL, seed)
    return [next_s() * 1000 for _ in range(number)]


def perfect_times(services_ms: Sequence[float], rate_per_s: int) -> list[float]:
    """The response times in ms that these services make of arrivals at equal distances."""
    import numpy as np

    from benchmarks.queueing_theory import waits

    services = np.array(services_ms)
    return (waits(np.arange(len(services)) * 1000 / rate_per_s, services) + services).tolist()  # type: ignore[no-any-return]


def percentiles(times_ms: Sequence[float], rate_per_s: int, seconds: int) -> dict[str, Any]:
    """The percentiles of ``SHARES`` and ``n``, of those requests in the order of sending that are to be compared.

    Raises:
        DeploymentError: there are too few.
    """
    import numpy as np

    begin, after = rate_per_s * LEFT_OUT_S, rate_per_s * (LEFT_OUT_S + seconds)
    if len(times_ms) < after:
        raise DeploymentError(f"{len(times_ms)} requests were answered where {after} should have been; run again")
    kept = np.array(times_ms[begin:after])
    return {"n": len(kept)} | {key: float(np.quantile(kept, share)) for key, share in SHARES.items()}


def run_peer(peer: Tool, port: int, rate_per_s: int, seconds: int, folder: Path) -> list[float]:
    """The response times of the other tool's requests in ms, in the order of sending.

    Raises:
        DeploymentError: it failed, or a request.
    """
    seconds += LEFT_OUT_S
    for command in peer.commands(f"http://127.0.0.1:{port}/infer", rate_per_s, seconds, folder):
        finish(peer.name, command, folder, seconds)
    return peer.read((folder / WRITTEN).read_text(encoding="utf-8"))


def run_ours(port: int, rate_per_s: int, seconds: int, folder: Path) -> Run:
    """Load the server with open_load.py, one second longer than needed.

    Raises:
        DeploymentError: Locust failed, or a request.
    """
    import pandas as pd

    prefix, service = folder / "ours", folder / SERVICE_FILE
    service.write_text(SERVICE, encoding="utf-8")
    command = [sys.executable, "-m", "locust", "-f", str(OPEN_LOAD), "--headless", "--only-summary", "--seed", "1"]
    command += ["--host", f"http://127.0.0.1:{port}", "--csv", str(prefix), "--replicas", "none", "--warm-up", "0"]
    command += ["--service", str(service)]
    command += ["--rate", str(rate_per_s), "--arrivals", "constant", "--connection", "kept"]
    command += ["--most-in-flight", str(MOST_IN_FLIGHT), "--run-time", str(seconds + LEFT_OUT_S + 1)]
    finish("Locust", command, folder, seconds)
    rows = pd.read_csv(f"{prefix}{REQUESTS_SUFFIX}", dtype={"error": str})
    measured = rows[rows["phase"] == MEASURED].sort_values("started_at_unix_s")
    return Run(measured, RunRecord.read(Path(f"{prefix}{RUN_RECORD_SUFFIX}")))


def finish(name: str, command: Sequence[str], folder: Path, seconds: int) -> None:
    """Run a load of so many seconds in a folder, until it ends.

    Raises:
        DeploymentError: it failed, or did not end.
    """
    limit_s = seconds + LONGEST_START_S
    try:
        done = subprocess.run(
            command, cwd=folder, env=for_load(folder), capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DeploymentError(f"{name} did not end in {limit_s} s; run again") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout)[-1500:]
        raise DeploymentError(f"{name} ended with exit code {done.returncode}: {said}")


def in_time(ours: Run) -> dict[str, Any]:
    """How a run of open_load.py kept its rate: how long after its time a request was sent, in ms; the share of those
    that were late or not sent; and the CPU of its one process, in percent of one core."""
    delays, load = ours.requests["send_delay_ms"], ours.record.open
    if load is None:
        raise DeploymentError("the record of open_load.py has no open workload")
    not_sent = load.dropped + load.over_bound
    return {
        "send_delay_p50_ms": float(delays.median()),
        "send_delay_p99_ms": float(delays.quantile(0.99)),
        "not_in_time": float(((delays > LATE_MS).sum() + not_sent) / (len(delays) + not_sent)),
        "cpu_percent": ours.record.generator.cpu_percent,
    }


@contextmanager
def running_responder(folder: Path) -> Iterator[int]:
    """The port of a server that answers at once. It ends with the block.

    Raises:
        DeploymentError: it did not start.
    """
    answer = folder / "answer"
    answer.write_bytes(AT_ONCE)
    command = [sys.executable, "-m", "infra.experiment.responder", "--answer", str(answer)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, env=for_python(), stdin=pipe, stdout=pipe, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise DeploymentError(f"the responder ended with exit code {process.wait()}; what it said stands above")
        yield int(line)
    finally:
        end(process)


def ratios(alternations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each rate and percentile: the medians of ours, of the other tool's and of the perfect client's over the
    alternations, and the ratios of ours to the other's within the alternations, by their median, lowest and highest."""
    found = []
    for rate in map(str, RATES_PER_S):
        for key in SHARES:
            times = {who: [each[rate][who][key] for each in alternations] for who in ("ours", "peer", "perfect")}
            each_ratio = [ours / peer for ours, peer in zip(times["ours"], times["peer"], strict=True)]
            found.append(
                {"rate_per_s": int(rate), "quantity": key}
                | {who: statistics.median(each) for who, each in times.items()}
                | {
                    "median": statistics.median(each_ratio),
                    "lowest": min(each_ratio),
                    "highest": max(each_ratio),
                }
            )
    return found


def table(figures: Mapping[str, Any]) -> list[str]:
    """What is printed."""
    lines = [f"{'rate':<8}{'':<8}{'perfect':>10}{'ours':>10}{figures['peer']:>10}{'ratio':>8}  lowest to highest"]
    for each in figures["ratios"]:
        spread = f"{each['lowest']:.3f} to {each['highest']:.3f}"
        quantity, unit = each["quantity"].split("_")
        times = "".join(f"{each[who]:>7.2f} {unit}" for who in ("perfect", "ours", "peer"))
        lines.append(f"{each['rate_per_s']:>4}/s  {quantity:<8}{times}{each['median']:>8.3f}  {spread}")
    fast = figures["fast"]
    other = sum(each[rate]["other_services"] for each in figures["alternations"] for rate in each)
    cpu = "unknown" if fast["cpu_percent"] is None else f"{fast['cpu_percent']:.0f}%"
    return [
        *lines,
        f"{other} requests of ours overtook each other and got another's service.",
        f"At {FAST_RATE_PER_S:,}/s: {fast['not_in_time']:.2%} were late or not sent (at most {MOST_NOT_IN_TIME:.0%}), "
        f"half were sent {fast['send_delay_p50_ms']:.2f} ms after their time, CPU {cpu} of one core.",
    ]


if __name__ == "__main__":
    sys.exit(run(main))
