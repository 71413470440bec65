"""How long the analysis of a large run takes: 1,000,000 requests, and 10 replicas sampled for an hour.

    python -m benchmarks.scale [--requests 1000000] [--samples 14400] [--parts analysis,page] [--json FILE]

Makes the run. Then it reads the run's CSV files with plain pandas, analyses the run (``python -m analysis``), and opens
the page in Chromium. The first two take turns, so that the machine is the same to both. ``seconds`` is the time of a
process that analyses, and ``pandas_read_seconds`` that of a process that imports pandas and reads, each from start to
end. ``analysis_inside_seconds`` and ``pandas_inside_seconds`` are the same without start and imports. ``open_seconds``,
the part ``page``, needs Chromium on the PATH and benchmarks/requirements.txt.

    python -m benchmarks.scale --parts growth [--sizes 1000000,5000000,20000000]

The part ``growth``, which is measured only if it is named, analyses a run of each of these sizes once. The slopes
``seconds_per_million``, ``cpu_seconds_per_million`` and ``mb_per_million`` are those of the line that fits best (least
squares).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.needs import (
    BENCHMARK_REQUIREMENTS,
    Figures,
    output_file,
    positive,
    require,
    run,
    temporary_folder,
    why_no_packages,
    why_no_program,
    why_no_space,
)
from runfiles.columns import PERCENT, REPLICA_STATS_COLUMNS
from runfiles.events import MEASURED
from runfiles.files import (
    EXPERIMENT_FILE,
    FORM,
    LOAD,
    REPLICA_STATS_SUFFIX,
    REPORT_FILE,
    REQUESTS_SUFFIX,
    RUN_RECORD_SUFFIX,
)
from runfiles.machines import this_machine

if TYPE_CHECKING:
    import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ANALYSIS, PAGE, GROWTH = "analysis", "page", "growth"
PARTS = (ANALYSIS, PAGE, GROWTH)
NOT_VALID = 3
"""The analysis' exit code for a run that is not valid."""

REQUEST_BYTES, SAMPLE_BYTES, REST_BYTES = 250, 500, 200_000_000
"""What a row of the made run takes on the disk at most, and what the page and Chromium take."""

START = 1_700_000_000.0
SECONDS = 3600
REPLICAS = 10
SIZES = [1_000_000, 5_000_000, 20_000_000]
ROWS_AT_ONCE = 1_000_000
"""So many rows are made at once: all those of a large run would not fit into the memory."""

READ = """
import sys, time, pandas
began = time.perf_counter()
frames = [pandas.read_csv(path) for path in sys.argv[1:]]
print(time.perf_counter() - began)
"""
ANALYSE = """
import pathlib, sys, time
import analysis.__main__
from plotly.graph_objects import Bar, Figure, Layout, Scatter  # plotly imports them only when they are used
from analysis.analyse import analyse
from analysis.read.results import read_results
from analysis.show.page import render
began = time.perf_counter()
page = render(analyse(read_results(pathlib.Path(sys.argv[1]))))
pathlib.Path(sys.argv[1], "report.html").write_text(page, encoding="utf-8")
print(time.perf_counter() - began)
"""
TURNS = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--requests", type=positive, default=1_000_000)
    parser.add_argument("--samples", type=positive, default=14_400, help="of each of ten replicas (14400)")
    parser.add_argument("--sizes", type=sizes, default=SIZES, help="numbers of requests of the part growth, by commas")
    usual = f"{ANALYSIS},{PAGE}"
    parser.add_argument("--parts", default=usual, help=f"what to measure, by commas: {', '.join(PARTS)} ({usual})")
    parser.add_argument("--json", type=output_file, help="write the figures there")
    arguments = parser.parse_args()
    parts = [name.strip() for name in arguments.parts.split(",")]
    if unknown := set(parts) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))} is not known")
    if arguments.samples < 2:
        parser.error("a rate needs at least 2 samples (--samples)")
    most = max([arguments.requests, *(arguments.sizes if GROWTH in parts else ())])
    needed_bytes = most * REQUEST_BYTES + arguments.samples * REPLICAS * SAMPLE_BYTES + REST_BYTES
    require(
        why_no_packages("jinja2", "numpy", "pandas", "plotly", "rich", "scipy"),
        why_no_space(temporary_folder(), needed_bytes),
        why_no_browser() if PAGE in parts else None,
    )
    figures = Figures(arguments.json, requests=arguments.requests)
    if parts != [GROWTH]:
        with tempfile.TemporaryDirectory() as name:
            measured(figures, Path(name), parts, arguments)
    if GROWTH in parts:
        growth(figures, arguments.sizes, arguments.samples)
    return 0


def sizes(text: str) -> list[int]:
    """A command-line option: at least two different numbers."""
    found = sorted({positive(part) for part in text.split(",")})
    if len(found) < 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not two different numbers or more")
    return found


def growth(figures: Figures, sizes: Sequence[int], samples: int) -> None:
    """How time and memory of the analysis grow with the number of requests."""
    import numpy as np

    taken: list[dict[str, float]] = []
    for requests in sizes:
        with tempfile.TemporaryDirectory() as name:
            made(Path(name), requests, samples)
            taken.append({"requests": requests, **spent(Path(name))})
        figures.keep(growth=taken)
        print(" ".join(f"{key}={value:.1f}" for key, value in taken[-1].items()), flush=True)
    millions = [row["requests"] / 1e6 for row in taken]
    for key in ("seconds", "cpu_seconds", "mb"):
        slope = float(np.polyfit(millions, [row[key] for row in taken], 1)[0])
        figures.keep(**{f"{key}_per_million": slope})
        print(f"{f'{key}_per_million':<24} {slope:.2f}", flush=True)


def spent(folder: Path) -> dict[str, float]:
    """What ``python -m analysis`` takes: its time, its CPU time and the most memory that it holds."""
    command = [sys.executable, "-m", "analysis", str(folder)]
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, NOT_VALID):
        raise subprocess.CalledProcessError(process.returncode, command)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "mb": used.ru_maxrss * 1024 / 1e6,
    }


def measured(figures: Figures, folder: Path, parts: list[str], arguments: argparse.Namespace) -> None:
    """Measure the parts that are asked for. The figures are kept after each turn and printed after each part."""
    files = made(folder, arguments.requests, arguments.samples)
    page = folder / REPORT_FILE
    if ANALYSIS in parts:
        reads, processes, analyses, takes = [], [], [], []
        for number in range(1, TURNS + 1):
            command = [sys.executable, "-c", READ, *map(str, files)]
            began = time.perf_counter()
            reads.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
            processes.append(time.perf_counter() - began)
            command = [sys.executable, "-c", ANALYSE, str(folder)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            analyses.append(float(done.stdout))
            takes.append(analyse(folder))
            figures.keep(
                turns=number,
                seconds=statistics.median(takes),
                analysis_inside_seconds=statistics.median(analyses),
                pandas_inside_seconds=statistics.median(reads),
                pandas_read_seconds=statistics.median(processes),
                # Of the largest process, those that only read with pandas included.
                peak_mb=resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6,
                page_mb=page.stat().st_size / 1e6,
            )
            print(f"turn {number} of {TURNS}: {takes[-1]:.1f} s", file=sys.stderr, flush=True)
        for key, value in figures.items():
            print(f"{key:<24} {value}", flush=True)
    if PAGE in parts:
        if not page.exists():
            analyse(folder)
        figures.keep(open_seconds=opened(page))
        print(f"{'open_seconds':<24} {figures['open_seconds']}")


def analyse(folder: Path) -> float:
    """Seconds that ``python -m analysis`` takes."""
    command = [sys.executable, "-m", "analysis", str(folder)]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != NOT_VALID:  # then the page is still made: few samples leave gaps, which are not valid
        done.check_returncode()
    return seconds


def made(folder: Path, requests: int, samples: int) -> list[Path]:
    """``make``, in a process of its own. Linux counts the memory of the process that starts another one to the peak of
    that one (getrusage(2)), so this one has to stay small."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        return apart.submit(make, folder, requests, samples).result()


def make(folder: Path, requests: int, samples: int) -> list[Path]:
    """One deployment of ten replicas in one round: the CSV files of its load."""
    import numpy as np
    import pandas as pd

    noise = np.random.default_rng(1)
    own = folder / "swarm-3" / "round-1"
    own.mkdir(parents=True)
    names = [f"llm-inference-service.{number}" for number in range(1, REPLICAS + 1)]
    paths = [own / f"{LOAD}{suffix}" for suffix in (REQUESTS_SUFFIX, REPLICA_STATS_SUFFIX)]
    for first in range(0, requests, ROWS_AT_ONCE):
        count = min(ROWS_AT_ONCE, requests - first)
        span_s = (START + SECONDS * first / requests, START + SECONDS * (first + count) / requests)
        rows = pd.DataFrame(request_rows(noise, names, count, span_s))
        rows.to_csv(paths[0], mode="a", header=first == 0, index=False)
    tables = [pd.DataFrame(replica_samples(noise, number, name, samples)) for number, name in enumerate(names)]
    pd.concat(tables).sort_values("sampled_at_unix_s").to_csv(paths[1], index=False)
    (own / f"{LOAD}{RUN_RECORD_SUFFIX}").write_text(json.dumps(run_record(requests)))
    (folder / EXPERIMENT_FILE).write_text(json.dumps(experiment_record()))
    return paths


def request_rows(
    noise: np.random.Generator, names: Sequence[str], count: int, span_s: tuple[float, float]
) -> dict[str, Any]:
    """The columns of some requests, sent at random between two times."""
    import numpy as np

    queue_ms, inference_ms = (noise.exponential(mean, count).round(3) for mean in (3, 2))
    return {
        "started_at_unix_s": np.sort(noise.uniform(*span_s, count)),
        "response_time_ms": queue_ms + inference_ms + noise.lognormal(2, 0.4, count),
        "status": 200,
        "error": "",
        "request_bytes": noise.integers(20, 200, count),
        "response_bytes": noise.integers(100, 300, count),
        "text_id": noise.integers(1, 161, count),
        "replica": np.array(names)[noise.integers(0, REPLICAS, count)],
        "queue_ms": queue_ms,
        "inference_ms": inference_ms,
        "connection_reused": 1,
        "phase": MEASURED,
    }


def replica_samples(noise: np.random.Generator, number: int, name: str, samples: int) -> dict[str, Any]:
    """The columns of one replica's samples: noise in those that the analysis computes with, constants in the rest."""
    import numpy as np

    at = START + np.linspace(0, SECONDS, samples)
    rx_bytes, tx_bytes, packets = (np.arange(samples) * each for each in (900, 1500, 7))
    networks = zip(*(counter.tolist() for counter in (rx_bytes, tx_bytes, packets, packets)), strict=True)
    told: dict[str, Any] = {
        "sampled_at_unix_s": at + noise.uniform(1e-5, 1e-3, samples),
        "read_at_unix_s": at,
        "replica": name,
        "replica_id": f"{number:011x}c",
        "node": "n1",
        "cpu_seconds": np.cumsum(noise.uniform(0, 0.1, samples).round(9)),
        "memory_bytes": (4e8 + noise.normal(0, 1e6, samples)).astype(int),
        "memory_limit_bytes": 2**31,
        "net_rx_bytes": rx_bytes,
        "net_tx_bytes": tx_bytes,
        "phase": MEASURED,
        "generation": f"{number:024x}c",
        "state": "running",
        "users": 8,
        "net_rx_packets": packets,
        "net_tx_packets": packets,
        "interfaces": [json.dumps({"eth0": counts}, separators=(",", ":")) for counts in networks],
    }
    values: dict[str, Any] = {}
    for column in REPLICA_STATS_COLUMNS:
        if column.rate_of:
            values[column.name] = np.gradient(told[column.rate_of], at) * (100 if column.unit is PERCENT else 1)
        else:
            values[column.name] = told.get(column.name, "" if column.unit.is_text else 0)
    return values


def run_record(requests: int) -> dict[str, Any]:
    """What Locust's side says of the run."""
    return {
        "form": FORM,
        "user_class": "KeepAliveUser",
        "host": "http://server:8080",
        "users": 8,
        "run_time_s": SECONDS,
        "warm_up_s": 0,
        "started_at_unix_s": START,
        "ended_at_unix_s": START + SECONDS,
        "ended_by": "run time",
        "requests": requests,
        "service": {"model": {"name": "made", "sha256": "0" * 64}},
        "texts": {"file": "reviews.csv", "sha256": "0" * 64, "count": 160},
        "replicas": {"asked": "swarm:x", "found": "swarm:x", "list": [], "problems": []},
        "generator": {"cpu_percent": 20.0, "cpu_warnings": 0},
    }


def experiment_record() -> dict[str, Any]:
    """What infra's side says of the experiment."""
    round_ = {"number": 1, "status": "measured", "folder": "swarm-3/round-1", "runs": [LOAD]}
    plan = {"deployments": ["swarm-3"], "rounds": 1, "users": 8, "seconds": SECONDS, "warm_up_s": 0}
    return {
        "form": FORM,
        "started_at": datetime.fromtimestamp(START, UTC).isoformat(),
        "command": "python -m benchmarks.scale",
        "plan": plan | {"user_class": "keep_alive"},
        "machine": this_machine().to_json(),
        "deployments": [{"name": "swarm-3", "status": "measured", "rounds": [round_]}],
    }


def opened(page: Path) -> float:
    """Seconds until Chromium has drawn every chart that a reader sees."""
    with browser() as chromium:
        tab = chromium.new_page()
        began = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_function("document.documentElement.dataset.drawn === 'yes'")
        return time.perf_counter() - began


@contextmanager
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


def why_no_browser() -> str | None:
    """Why Chromium can't be started."""
    reasons = [
        why_no_packages("playwright", requirements=BENCHMARK_REQUIREMENTS),
        why_no_program("chromium", "google-chrome"),
    ]
    reason = "; ".join(filter(None, reasons))
    if not reason:
        try:
            with browser():
                return None
        except Exception as error:  # whatever it is, it is reported
            reason = f"Chromium does not start ({str(error).splitlines()[0]}); mend that"
    return f"{reason}; or measure without the page: --parts analysis"


if __name__ == "__main__":
    sys.exit(run(main))
