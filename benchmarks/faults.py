"""What becomes of the service, of a load and of an experiment when something goes wrong.

    python -m benchmarks.faults [--only NAME,NAME] [--short] [--json FILE] [--docs FILE]

Makes one fault after the other, and counts what came of it. What this machine lacks for a fault is said in its row.
All of them take an hour or more; --short repeats less, as the tests do, and takes some minutes. If --json names a file
that is there, rows of other faults stay: one can be made after the other, also on several machines. --docs writes
the table of all rows into a page such as docs/reliability.md.

Exit code: 1 if something that is promised did not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults_outcome import Fault
from benchmarks.faults_report import write_report
from benchmarks.needs import Figures, output_file, require, run, why_no_packages


def faults() -> Sequence[Fault]:
    """All faults, in the order of docs/reliability.md."""
    # Imported here: --help and the list of what is missing need no installed package.
    from benchmarks import (
        faults_clock,
        faults_disk,
        faults_engine,
        faults_power,
        faults_service,
        faults_signals,
        faults_swarm,
        faults_text,
    )

    return (
        *faults_swarm.FAULTS,
        *faults_engine.FAULTS,
        *faults_disk.FAULTS,
        *faults_service.FAULTS,
        *faults_signals.FAULTS,
        *faults_clock.FAULTS,
        *faults_power.FAULTS,
        *faults_text.FAULTS,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", help="faults by name, by commas (all of them)")
    parser.add_argument("--short", action="store_true", help="repeat less, as the tests do")
    parser.add_argument("--json", type=output_file, help="add the figures to this file")
    parser.add_argument("--docs", type=output_file, help="write the table into this Markdown file")
    arguments = parser.parse_args()
    require(why_no_packages("psutil", "pandas", "docker", "requests"))
    chosen = {fault.name: fault for fault in faults()}
    names = arguments.only.split(",") if arguments.only else list(chosen)
    if unknown := [name for name in names if name not in chosen]:
        parser.error(f"there is no fault {unknown[0]!r}; there are {', '.join(chosen)}")
    rows = {row["name"]: row for row in _known(arguments.json)}
    figures = Figures(arguments.json)
    failed = False
    for name in names:
        row = _row(chosen[name], arguments.short)
        failed = failed or bool(row["broken"])
        if row["lacking"] is None or name not in rows:  # what another machine could make stays
            rows[name] = row
        figures.keep(rows=[rows[each] for each in chosen if each in rows])
    if arguments.docs:
        write_report(figures["rows"], arguments.docs)
    return int(failed)


def _known(path: Path | None) -> list[dict[str, Any]]:
    """The rows that the file of figures already has."""
    if path is None or not path.exists() or not path.stat().st_size:
        return []
    try:
        known: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    except (ValueError, KeyError, TypeError):
        raise SystemExit(f"error: {path} has no figures of this benchmark; name another file") from None
    return known


def _row(fault: Fault, short: bool) -> dict[str, Any]:
    print(f"{fault.title} ...", flush=True)
    known = {"name": fault.name, "title": fault.title, "promise": fault.promise, "short": short}
    lacking = fault.why_not()
    if lacking is not None:
        print(f"  not measured: {lacking}", flush=True)
        return known | {"lacking": lacking, "figures": {}, "broken": [], "took_s": None}
    began = time.monotonic()
    outcome = fault.measure(short)
    took_s = time.monotonic() - began
    for words, value in outcome.figures.items():
        print(f"  {words}: {json.dumps(value) if not isinstance(value, str) else value}", flush=True)
    print(
        f"  {'does not hold: ' + ' '.join(outcome.broken) if outcome.broken else 'holds'} ({took_s:.0f} s)", flush=True
    )
    return known | {
        "lacking": None,
        "figures": dict(outcome.figures),
        "broken": list(outcome.broken),
        "took_s": round(took_s, 1),
    }


if __name__ == "__main__":
    sys.exit(run(main))
