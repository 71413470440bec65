"""The figures to hand in: those of docker stats, in its units, with the response times."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest
from recorded_runs import (
    Target,
    in_blocks,
    measured,
    request,
    steady_requests,
    steady_samples,
    texts_once,
    warmed,
    write_experiment,
    write_run,
)

from analysis.analyse import Analysis, analyse
from analysis.read.results import read_results
from analysis.show.hand_in import binary_size, decimal_size, hand_in_tables
from analysis.show.markdown import render_markdown
from analysis.show.page import render
from runfiles.events import MEASURED

GIB = 1 << 30
HEAD = ["Run as", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "Requests", "Median", "p95"]


def both(folder: Path, host: str = "host", docker: str = "docker", rounds: int = 1) -> Analysis:
    """A host process, and a container with a limit of 2 GiB that gets 1 kB and sends 2 kB each second; each has a
    single pass of 160 texts in the time of a run."""
    write_experiment(folder, [measured(host, rounds), measured(docker, rounds)])
    once: dict[str, Any] = {"warm_up_s": 0, "users": 1, "run_time_s": None}
    for name, cpu, values in (
        (host, 0.5, {}),
        (docker, 0.8, {"rx_per_second": 1000.0, "memory_bytes": 0.25 * GIB, "memory_limit_bytes": 2 * GIB}),
    ):
        samples = steady_samples(cpu, **values)
        for number in range(1, rounds + 1):
            rows = [request(2 + i / 250, 10 + i % 7 + number / 10) for i in range(2500)]
            write_run(folder / name, "load", warmed(rows), samples, number=number)
            alone = [row | {"phase": MEASURED} for row in samples]
            write_run(folder / name, "single_pass", texts_once(), alone, number=number, **once)
    return analyse(read_results(folder))


@pytest.mark.parametrize(
    ("count", "binary", "decimal"),
    [
        (0, "0B", "0B"),
        (999, "999B", "999B"),
        (1023, "1023B", "1.02kB"),
        (1536, "1.5KiB", "1.54kB"),
        (999_600, "976.2KiB", "1MB"),
        (48_911_872, "46.65MiB", "48.9MB"),
        (2 * GIB, "2GiB", "2.15GB"),
        (3e15, "2728TiB", "3e+03TB"),
    ],
)
def test_sizes_are_written_as_docker_stats_writes_them(count: float, binary: str, decimal: str) -> None:
    """As docker/go-units does: BytesSize for memory, HumanSizeWithPrecision with 3 digits for the network."""
    assert (binary_size(count), decimal_size(count)) == (binary, decimal)


def test_the_load_and_the_single_pass_have_a_table_with_all_deployments(tmp_path: Path) -> None:
    load, alone = hand_in_tables(both(tmp_path))
    assert [column.title for column in load.columns] == [column.title for column in alone.columns] == HEAD
    for table, net in ((load, "10kB / 20kB"), (alone, "12kB / 24kB")):
        host, docker = table.rows
        assert (host.title, docker.title) == ("Host process", "docker run")
        requests = "2,500" if table is load else "160"
        assert [cell.text for cell in docker.cells[:5]] == ["80.00%", "256MiB / 2GiB *", "12.50%", net, requests]
        assert docker.cells[1].detail == "268.4 MB"
    assert [cell.text for cell in load.rows[1].cells[5:]] == ["13.10 ms", "16.10 ms"]


def test_what_a_host_process_lacks_is_missing_with_the_reason(tmp_path: Path) -> None:
    cells = hand_in_tables(both(tmp_path))[0].rows[0].cells
    assert cells[0].text == "50.00%"
    assert cells[1].text == "95.37MiB / no limit *"
    assert (cells[2].text, cells[2].detail) == ("not measured", "a process has no memory limit")
    assert cells[3].text == "not measured"
    assert cells[3].detail.startswith("a process has no network interfaces of its own")


def test_intervals_stand_below_from_three_rounds_on(tmp_path: Path) -> None:
    for rounds, detail in ((1, ""), (2, ""), (3, "12.95 to 13.45")):
        (table, _) = hand_in_tables(both(tmp_path / str(rounds), rounds=rounds))
        assert table.rows[0].cells[5].detail == detail
    assert (table.rows[0].cells[4].text, table.rows[0].cells[4].detail) == ("2,500", "3 rounds")


def test_what_is_not_valid_says_so_in_its_row(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host")])
    starved = {"cpu_percent": 95.0, "cpu_warnings": 0}
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), generator=starved)
    (table,) = hand_in_tables(analyse(read_results(tmp_path)))
    assert table.rows[0].detail == "not valid"


def test_page_and_markdown_have_the_tables_and_how_to_compare_them(tmp_path: Path) -> None:
    analysis = both(tmp_path)
    page, markdown = render(analysis), render_markdown(analysis)
    section = page[page.index('<h2 id="hand-in">') : page.index('<h2 id="latency">')]
    assert page.index('<h2 id="doubts">') < page.index('<h2 id="hand-in">')
    for text in (section, markdown):
        assert "docker stats counts from the start of the container, so read it before and after" in text
        assert "256MiB / 2GiB" in text
        assert "10kB / 20kB" in text
    row = "| docker run | 80.00% | 256MiB / 2GiB \\* (268.4 MB) | 12.50% | 10kB / 20kB | 2,500 (1 round) | 13.10 ms |"
    assert f"{row} 16.10 ms |" in markdown
    assert markdown.index("## Figures to hand in") < markdown.index("## Findings")


def test_a_button_copies_a_table_for_a_spreadsheet(tmp_path: Path) -> None:
    page = render(both(tmp_path, docker="=1+1"))
    tables = [html.unescape(found) for found in re.findall(r'data-copy="([^"]*)"', page)]
    assert len(tables) == 2
    head, host, other = (line.split("\t") for line in tables[0].splitlines())
    assert head[:4] == ["Run as", "CPU %", "MEM USAGE / LIMIT", "MEM %"]
    assert head[4:6] == ["NET I/O (in / out, per round)", "Requests (per round)"]
    assert host[:3] == ["Host process", "50.00%", "95.37MiB / no limit *"]
    assert host[3:6] == ["not measured", "not measured", "2,500"]
    assert other[0] == "'=1+1"
    assert len(head) == len(host) == len(other) == 8


def test_the_network_of_a_repeated_pass_is_that_of_one_pass(tmp_path: Path) -> None:
    analysis = analyse(read_results(in_blocks(tmp_path, [Target("docker"), Target("compose")])))
    load, alone = hand_in_tables(analysis)
    cpu, memory, _, network, requests, *_ = alone.rows[0].cells
    assert (requests.text, network.text) == ("160", "2kB / 4kB")  # 3 passes of 2 s
    assert (cpu.text, memory.text) == ("50.00%", "95.37MiB / 381.5MiB")
    assert alone.how_to_read.startswith("The pass was repeated (up to 3 passes in a round), because samples of CPU")
    assert load.how_to_read == ""
