"""What ends a load early, and in which order it sends the texts."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Service

from servicefile.service_file import SERVICE

from _texts import asked_service

ASKED = asked_service(str(SERVICE))


def load(service: Service, prefix: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "keep_alive.py"), "--headless"]
    command += ["--host", service.url, "--csv", str(prefix), "--replicas", "none", "--only-summary", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_seed_shuffles_the_texts_the_same_way_each_time() -> None:
    assert ASKED.in_order(0) == ASKED.requests
    assert ASKED.in_order(1) == ASKED.in_order(1) != ASKED.in_order(2)
    assert sorted(ASKED.in_order(1), key=lambda text: text.text_id) == ASKED.requests


def test_a_load_ends_after_so_many_measured_requests_in_the_seeds_order(
    shared_service: Service, tmp_path: Path
) -> None:
    options = ("-u", "1", "-t", "30", "--warm-up", "1", "--requests", "50", "--seed", "7")
    done = load(shared_service, tmp_path / "load", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "load_requests.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["text_id"]) for row in rows[:160]] == [text.text_id for text in ASKED.in_order(7)][
        : len(rows[:160])
    ]
    phases = [row["phase"] for row in rows]
    assert phases.count("measured") in (50, 51)  # the user's next request may be answered before it is ended
    assert phases == sorted(phases, reverse=True)
    record = json.loads((tmp_path / "load_run.json").read_text())
    assert (record["ended_by"], record["end_after_requests"], record["seed"]) == ("number of requests", 50, 7)


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_number_of_requests_is_a_number(shared_service: Service, tmp_path: Path, number: str) -> None:
    done = load(shared_service, tmp_path / "load", "-u", "1", "-t", "1", "--requests", number)
    assert done.returncode == 2
    assert "is not a whole number above 0" in done.stderr
