"""``python -m analysis RESULTS``: make report.html of an experiment's folder, and print the key figures."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

import runfiles
from analysis.caveats import caveats
from analysis.frames import Results, UnreadableResults, read_results
from analysis.page import number, render
from analysis.summary import Ratio, ratio, summarize, why_unlike


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis", description="Make the page of an experiment's folder.")
    parser.add_argument("results", type=Path, help="the folder, such as results/2026-01-31T12-00-00")
    parser.add_argument("--output", type=Path, help=f"where to write the page (RESULTS/{runfiles.REPORT_FILE})")
    arguments = parser.parse_args()
    page: Path = arguments.output or arguments.results / runfiles.REPORT_FILE
    try:
        results = read_results(arguments.results)
        page.write_text(render(results), encoding="utf-8")
    except UnreadableResults as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {page} can't be written ({error.strerror}); name another place with --output", file=sys.stderr)
        return 2
    _print_summary(results)
    print(f"The page: {page.resolve().as_uri()}")
    return 0


def _print_summary(results: Results) -> None:
    console = Console(highlight=False)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title="Under load, warm-up excluded; CPU-ms: CPU time an answer",
        title_justify="left",
    )
    for name in ("", "n", "p50 ms", "p95 ms", "req/s", "CPU-ms", "MB", "p50 / host"):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    host = next((one for one in results.deployments if one.name == "host" and one.load), None)
    for one in results.deployments:
        if one.load is None:
            continue
        summary = summarize(one.load)
        compared = (
            ""
            if host is None or host is one or host.load is None
            else _short(ratio(summary.latency.median, summarize(host.load).latency.median, why_unlike(one, host)))
        )
        table.add_row(
            one.title,
            f"{summary.requests}",
            number(summary.latency.median),
            number(summary.latency.p95),
            number(summary.throughput),
            number(summary.cpu_ms_per_request, 2),
            number(summary.memory_mean_bytes, 0, 1e-6),
            compared,
        )
    if table.row_count:
        console.print(table)
    for one in results.deployments:
        if one.status != "measured":
            console.print(f"{one.title}: {one.status}: {one.reason}", markup=False, soft_wrap=True)
    for caveat in caveats(results):
        if caveat.is_serious:
            console.print(f"! {caveat.text}", markup=False, soft_wrap=True, style="red")


def _short(one: Ratio) -> str:
    """A ratio for a narrow terminal; its interval stands on the page."""
    return "not compared" if math.isnan(one.value) else f"{one.value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
