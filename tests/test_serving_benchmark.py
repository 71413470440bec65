"""The serving benchmark: a short run of the real thing, and what is made of the figures."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
from conftest import ROOT

from benchmarks.serving import _ratios
from benchmarks.serving_report import BEGIN, END, write_report
from infra.deployments.waiting import until_true


def test_ratios_are_of_the_same_number_of_connections() -> None:
    service = {"connections": {"32": {"throughput": 600, "p99_ms": 80}}}
    usual = {"connections": {"1": {"throughput": 30, "p99_ms": 60}, "32": {"throughput": 40, "p99_ms": 1600}}}
    assert _ratios(service, usual) == {"32": {"throughput": 15, "p99": 0.05}}


def is_whole(path: Path) -> bool:
    return path.exists() and path.read_text().endswith("}\n")


def test_without_the_image_nothing_is_measured_and_the_remedy_is_told() -> None:
    command = [sys.executable, "-m", "benchmarks.serving", "--only", "fourfold (onnx)", "--parts", "load,docker"]
    command += ["--image", "fourfold nowhere"]
    run = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    (said,) = run.stderr.splitlines()
    assert said.startswith("error: ")
    assert run.stdout == ""


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_a_short_run_leaves_figures_and_tables_also_where_its_last_part_is_interrupted(tmp_path: Path) -> None:
    model, figures, report = tmp_path / "model", tmp_path / "figures.json", tmp_path / "report.md"
    environment = {"INFERENCE_MODEL": str(ROOT / "inference" / "bundled_model"), "PATH": "/usr/bin:/usr/local/bin"}
    fetch = [sys.executable, "-m", "inference.fetch", str(model)]
    subprocess.run(fetch, cwd=ROOT, env=environment, check=True, capture_output=True)
    command = [sys.executable, "-m", "benchmarks.serving", "--only", "fourfold (onnx)"]
    command += ["--rounds", "1", "--seconds", "1", "--model", str(model), "--json", str(figures)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE) as run:
        assert until_true(lambda: is_whole(figures) or run.poll() is not None, 120)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
    assert run.returncode != 0
    found = json.loads(figures.read_text())
    assert "overload" not in found
    measured = found["services"]["fourfold (onnx)"]
    assert {number: load["throughput"] > 0 for number, load in measured["connections"].items()} == {
        "1": True,
        "8": True,
        "32": True,
    }
    assert measured["memory_bytes"] > 50e6
    report.write_text(f"before\n{BEGIN}\nstale figures\n{END}\nafter\n")
    write_report(found, report)
    text = report.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "stale" not in text
    assert "| fourfold (onnx) | 32 |" in text
