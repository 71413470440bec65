"""A load in blocks, whose right figures are known beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recorded_runs import Target, in_blocks

from analysis.analyse import analyse
from analysis.measure.rounds import summarize
from analysis.measure.series import throughput_per_second
from analysis.read.results import read_results
from analysis.read.runs import Run


def loads_of(folder: Path) -> dict[str, Run]:
    """The load of each deployment in round 1."""
    return {deployment.name: deployment.loads[1] for deployment in read_results(folder).deployments}


def test_figures_are_those_of_the_measured_parts(tmp_path: Path) -> None:
    host, docker = Target("host"), Target("docker", per_second=50, busy=0.25)
    loads = loads_of(in_blocks(tmp_path, [host, docker]))
    for target, load in ((host, loads["host"]), (docker, loads["docker"])):
        start, end = load.window_unix_s
        assert end - start == pytest.approx(10)
        summary = summarize(load)
        assert summary["requests"].value == 10 * target.per_second
        assert throughput_per_second(load).tolist() == [target.per_second] * 10
        assert summary["cpu_percent"].value == pytest.approx(target.busy * 100)
        assert summary["cpu_ms_per_answer"].value == pytest.approx(target.busy * 1000 / target.per_second)
        assert summary["interface_in_mb"].value == pytest.approx(0.01)
        assert summary["interface_out_mb"].value == pytest.approx(0.02)
        assert summary["interface_in_kb_per_s"].value == pytest.approx(1)
        assert summary["memory_mean_mb"].value == summary["memory_max_mb"].value == pytest.approx(100)
        assert summary["memory_percent"].value == pytest.approx(25)
        assert summary["hidden_softirq_cpu_ms"].value == pytest.approx(100 / target.per_second)
        assert np.ptp(load.samples["sampled_at_unix_s"]) == pytest.approx(10)
    assert analyse(read_results(tmp_path)).validity.is_valid
