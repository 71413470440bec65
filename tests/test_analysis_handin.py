"""The folder to hand in: its numbers are those of the experiment, its plots are fit for print, and it overwrites only
what is its own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import ROOT
from matplotlib.image import imread
from recorded_runs import (
    NASTY,
    measured,
    not_run,
    steady_requests,
    steady_samples,
    whole_experiment,
    write_experiment,
    write_run,
)

from analysis import __main__ as command
from analysis.analyse import Analysis, analyse
from analysis.judge import words
from analysis.measure.balance import replica_shares
from analysis.measure.quantity import QUANTITIES, Estimate
from analysis.read.results import read_results
from analysis.show import hand_in_files
from analysis.show.hand_in_files import LIST, write_hand_in
from analysis.show.hand_in_plots import DPI, PLOTS, WIDTH_INCHES, draw
from analysis.show.hand_in_report import YOUR_WORDS, render_report

NUMBER = r"[\d,]+(?:\.\d+)?"
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 1e3, "MB": 1e6, "GB": 1e9}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def engine_example() -> Analysis:
    return analyse(read_results(ROOT / "examples" / "engine-keep-alive"))


@pytest.fixture(scope="module")
def mesh_example() -> Analysis:
    return analyse(read_results(ROOT / "examples" / "mesh-keep-alive"))


@pytest.fixture(params=["engine_example", "mesh_example"])
def example(request: pytest.FixtureRequest) -> Analysis:
    found: Analysis = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def three_replicas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host process and three replicas, in 2 rounds of 10 s. They get 1, 2 and 3 kB/s, and send twice as much."""
    return whole_experiment(tmp_path_factory.mktemp("three"), rounds=2)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A host process in one round."""
    folder = write_experiment(tmp_path_factory.mktemp("small"), [measured("host")])
    write_run(folder / "host", "load", steady_requests(50), steady_samples(0.5))
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command with one plot only, and gives its exit code, its output and its errors."""
    monkeypatch.setattr(hand_in_files, "PLOTS", PLOTS[:1])

    def run(results: Path, *options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["analysis", str(results), "--format", "handin", *options])
        return command.main(), *capsys.readouterr()

    return run


def tables(report: str, section: str) -> Iterator[tuple[str, list[list[str]]]]:
    """The tables below a heading: the heading of each, and its rows."""
    part = report.split(f". {section}\n")[1].split("\n## ", maxsplit=1)[0]
    for own in part.split("\n### ")[1:]:
        lines = [line for line in own.splitlines() if line.startswith("| ")]
        cells = [[cell.strip().replace("\\", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[1:]]
        yield own.splitlines()[0], cells


def shown(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(NUMBER, text)]


def sizes(text: str) -> list[float]:
    """Sizes such as ``1.5MiB / 2GiB`` in bytes."""
    return [float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)([kKMG]?i?B)\b", text)]


def bounds(estimate: Estimate) -> list[float]:
    return [estimate.low, estimate.high] if estimate.has_interval else []


def test_each_number_of_the_tables_is_that_of_the_experiment(example: Analysis) -> None:
    found = dict(tables(render_report(example), "CPU, memory, network and latency"))
    loads, passes = found["Under load"], found["Single pass: one user, each text once"]
    assert [row[0] for row in loads] == [load.title for load in example.loads]
    for rows, kind in ((loads, example.loads), (passes, example.passes)):
        for row, measurement in zip(rows, kind, strict=True):
            summary = measurement.summary
            per = words.passes_of(measurement) if kind is example.passes else 1
            keys = {1: "cpu_percent", 3: "memory_percent", 6: "median_ms", 7: "p95_ms"}
            for place, key in keys.items():
                estimate = summary[key]
                if not estimate.is_measured:
                    assert row[place].startswith("not ")
                    continue
                assert shown(row[place])[:3] == pytest.approx([estimate.value, *bounds(estimate)], abs=0.006)
            usage, *limit = sizes(row[2].split("(")[0])
            assert usage == pytest.approx(summary["memory_mean_mb"].value * 1e6, rel=5e-4)
            told = summary["memory_limit_mb"]
            assert limit == ([pytest.approx(told.value * 1e6, rel=5e-4)] if told.is_measured else [])
            ways = [summary[f"interface_{way}_mb"] for way in ("in", "out")]
            if ways[0].is_measured:
                assert sizes(row[4]) == pytest.approx([way.value * 1e6 / per for way in ways], rel=5e-3)
            else:
                assert row[4] == f"not measured ({ways[0].missing})"
            rounds = len(measurement.rounds)
            assert shown(row[5]) == [round(summary["requests"].value / rounds / per), rounds]


def test_each_number_beside_a_pro_or_con_is_that_of_the_experiment(example: Analysis) -> None:
    """Figures such as ``CPU time per answer. docker run: 0.82 CPU-ms (0.77 to 0.88)``."""
    keys = {quantity.title: key for key, quantity in QUANTITIES.items()}
    loads = {load.title: load for load in example.loads}
    checked = 0
    for _, rows in tables(render_report(example), "Pros and cons"):
        for side, _, figures in rows:
            assert side in ("Pro", "Con", "Open")
            assert figures
            title, _, each = figures.partition(". ")
            for part in each.split("; ") if title in keys else ():
                match = re.match(rf"(?P<who>.+?): (?P<value>{NUMBER}) [^ ]+(?: \((.+) to (.+)\))?$", part)
                for who in match["who"].split(" and ") if match else ():
                    estimate = loads[who].summary[keys[title]]
                    expected = [estimate.value, *bounds(estimate)]
                    assert shown(part.partition(": ")[2]) == pytest.approx(expected, abs=0.06, rel=0.02)
                    checked += 1
    assert checked >= 6


def test_a_verdict_decides_whether_the_time_is_a_pro_or_a_con(engine_example: Analysis) -> None:
    report = render_report(engine_example)
    assert "| Pro | The host process is faster than docker run. | Median response time. Host process: 0.72 ms" in report
    assert "| Con | docker run is slower than the host process. | Median response time. docker run: 0.80 ms" in report
    assert "docker run against Host process: ratio round by round 1.11 (1.06 to 1.15), slower |" in report
    assert "| Open | No difference is proven between Docker Compose and docker run. |" in report
    assert "| Open | It is not known whether Swarm, 1 replica or docker run is faster. | Swarm, 1 replica: " in report


def test_three_replicas_are_explained_with_what_each_of_them_got(mesh_example: Analysis) -> None:
    report = render_report(mesh_example)
    ((_, rows),) = tables(report, "Network I/O with one replica and with three")
    one, *each, total = rows
    assert [one[0], total[0]] == ["Swarm, 1 replica: llm-inference-service.1", "Swarm, 3 replicas: sum"]
    (load,) = [load for load in mesh_example.loads if load.name == "swarm-3"]
    shares = replica_shares(load.deployment.loads[1])
    for row, share in zip(each, shares, strict=True):
        assert shown(row[1]) + shown(row[2]) == [share.connections, share.requests]
        assert shown(row[3]) + shown(row[5]) == pytest.approx(
            [100 * share.request_share, 100 * share.byte_share], abs=0.06
        )
        assert sizes(row[4]) == pytest.approx([share.received_bytes, share.sent_bytes], rel=5e-3)
    assert [row[1:3] for row in each] == [["1", "58"], ["2", "116"], ["1", "58"]]  # as the raw files have them
    assert total[1:5] == ["4", "232", "100.0%", "94.3kB / 121kB"]
    assert "balances connections, not requests" in report
    assert "1 (llm-inference-service.1), 2 (llm-inference-service.2), 1 (llm-inference-service.3)" in report
    assert "The busiest replica gave 50.0% of the answers; at most 50.0% were expected (4 users keep" in report
    assert "received 94.3kB and sent 121kB for 232 answers. That is 930B for one answer. One replica alone" in report
    assert "nearly the same (1.00 times)" in report


def test_the_sum_of_three_replicas_with_known_numbers(three_replicas: Path) -> None:
    report = render_report(analyse(read_results(three_replicas)))
    ((_, rows),) = tables(report, "Network I/O with one replica and with three")
    assert sorted(row[4] for row in rows) == ["10kB / 20kB", "20kB / 40kB", "30kB / 60kB", "60kB / 120kB"]
    assert "received 60kB and sent 120kB for 1,000 answers. That is 180B for one answer. Swarm, 1 replica was" in report
    assert "In the 2 rounds the busiest replica gave 33.4% to 33.4% of the answers." in report
    assert NASTY not in report
    assert "<script" not in report.replace("\\<", "")


def test_an_experiment_without_swarm_says_so_and_has_no_figures_of_it(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), not_run("swarm-3", "no IPVS in this *kernel*")])
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5))
    report = render_report(analyse(read_results(tmp_path)))
    network = report.split("## 5. ")[1].split("## 6. ")[0]
    assert "Swarm, 3 replicas: not measured: no IPVS in this \\*kernel\\*. So this report has no figures" in network
    assert not re.search(r"\d(\.\d+)?(%|[kM]?B)", network)
    assert "| Con | It needs a swarm, and IPVS in the kernel. | Swarm, 1 replica: not measured; Swarm, 3" in report


def test_what_a_service_does_not_tell_of_its_replicas_is_not_zero(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("swarm-3")])
    samples = [row for name in "abc" for row in steady_samples(0.2, 1000, replica=name, replica_id=name)]
    found = [{"at_unix_s": samples[0]["sampled_at_unix_s"], "event": "found", "replica": name} for name in "abc"]
    write_run(tmp_path / "swarm-3", "load", steady_requests(50, replica=""), samples, found)
    report = render_report(analyse(read_results(tmp_path)))
    ((_, rows),) = tables(report, "Network I/O with one replica and with three")
    assert [row[:3] for row in rows if ": a" in row[0]] == [["Swarm, 3 replicas: a", "not measured", "not told"]]
    assert rows[-1][2:5] == ["500", "100.0%", "30kB / 60kB"]
    assert "The service does not say which replica answered" in report


def test_each_section_and_plot_has_a_place_for_the_students_words(example: Analysis) -> None:
    report = render_report(example)
    assert report.count(f"\n\n{YOUR_WORDS}\n") == 4 + len(PLOTS) + 4  # sections, plots, ways to run it
    for section in report.split("\n## ")[1:]:
        assert section.rstrip().endswith(YOUR_WORDS)


def test_image_and_digest_are_named(tmp_path: Path) -> None:
    id = f"sha256:{'a' * 64}"
    pushed = {"name": "me/image", "id": id, "digests": [f"me/image@sha256:{'b' * 64}"], "bytes": 1_000_000}
    for digests, expected in (
        (pushed["digests"], f"- Digest: `me/image@sha256:{'b' * 64}`"),
        ([], "- Digest: none, because the image had not been pushed to a registry. After `docker push`"),
    ):
        write_experiment(tmp_path, [measured("docker", image=pushed | {"digests": digests})])
        write_run(tmp_path / "docker", "load", steady_requests(50), steady_samples(0.5))
        report = render_report(analyse(read_results(tmp_path)))
        assert f"- Image of docker run: me/image\n    - ID: `{id}`\n    {expected}" in report


def test_what_is_not_valid_is_told_before_any_figure_and_on_the_plots(tmp_path: Path, run: Any) -> None:
    write_experiment(tmp_path, [measured("host")])
    starved = {"cpu_percent": 95.0, "cpu_warnings": 0}
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), generator=starved)
    code, out, _ = run(tmp_path)
    assert code == 3
    assert f"The report: {(tmp_path / 'handin' / 'report.md').as_uri()}" in out
    report = (tmp_path / "handin" / "report.md").read_text()
    assert report.startswith("# One inference service, run in several ways\n\nNot valid: the load generator was short")
    assert report.index("This experiment is not valid") < report.index("## 2. ")
    assert "(not valid)" in (tmp_path / "handin" / "cpu.svg").read_text()


def test_the_plots_are_fit_for_print(engine_example: Analysis, tmp_path: Path) -> None:
    write_hand_in(engine_example, tmp_path / "new" / "folder")
    for plot in PLOTS:
        pixels = imread(tmp_path / "new" / "folder" / f"{plot.name}.png")[:, :, :3]
        height, width, _ = pixels.shape
        assert (width, height) == (round(WIDTH_INCHES * DPI), 1944)  # two panels of six rows
        assert (pixels[0] == 1).all()  # the edge is white
        dark = (pixels < 0.2).all(axis=2)
        assert 0.01 < dark.mean() < 0.2
        assert all(part.any() for part in np.array_split(dark, 8))
        svg = ElementTree.parse(tmp_path / "new" / "folder" / f"{plot.name}.svg").getroot()  # noqa: S314 - our own
        texts = ["".join(text.itertext()).strip() for text in svg.iter(f"{SVG}text")]
        for deployment in engine_example.results.deployments:
            assert texts.count(deployment.title) == 2  # under load, and in the single pass
        assert texts.count("not measured: not in the plan") == 4
        assert len(list(svg.iter(f"{SVG}pattern"))) == len(plot.series) - 1  # told apart without colours


def test_the_numbers_in_the_plots_are_those_of_the_tables(mesh_example: Analysis) -> None:
    texts = {plot.name: draw(plot, mesh_example)[f"{plot.name}.svg"].decode() for plot in PLOTS}
    cells = [row for _, rows in tables(render_report(mesh_example), "CPU, memory, network and latency") for row in rows]
    for row in cells:
        told = {"cpu": row[1], "memory": row[2].split(" / ")[0], "latency": row[6].split(" (")[0]}
        assert all(f">{text}</text>" in texts[name] for name, text in told.items())
        assert all(f">{text}</text>" in texts["network"] for text in row[4].split(" / "))


def test_a_dollar_in_a_name_stays_one_and_a_long_reason_is_shortened(tmp_path: Path) -> None:
    write_experiment(tmp_path, [not_run("$x^2$ & <b>", "a long reason " * 50)])
    content = draw(PLOTS[0], analyse(read_results(tmp_path)))["cpu.svg"].decode()
    assert "$x^2$ &amp; &lt;b&gt;" in content
    assert content.count("a long reason") < 30  # of 50
    assert "..." in content


def test_a_percentile_that_is_not_shown_has_words_in_place_of_a_bar(three_replicas: Path) -> None:
    latency = next(plot for plot in PLOTS if plot.name == "latency")
    content = draw(latency, analyse(read_results(three_replicas)))["latency.svg"].decode()
    assert ">p95: not shown</text>" in content
    assert ">not measured: no such run can be read</text>" in content


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_students_words_and_files_are_never_overwritten(
    three_replicas: Path, small: Path, tmp_path: Path, run: Any
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "essay.txt").write_text("my own")
    place = ("--output", str(folder))
    assert run(three_replicas, *place)[0] == 0
    first = contents(folder)
    assert sorted(first) == ["cpu.png", "cpu.svg", "essay.txt", "report.md", LIST]
    assert run(small, *place)[0] == 0  # nothing of its own was changed, so it is written over
    assert contents(folder)["report.md"] != first["report.md"]
    assert contents(folder)["essay.txt"] == b"my own"
    sums = subprocess.run(["sha256sum", "--check", "--quiet", LIST], cwd=folder, capture_output=True, check=False)
    assert (sums.returncode, sums.stdout, sums.stderr) == (0, b"", b"")

    with (folder / "report.md").open("a") as file:
        file.write("I see that ...\n")
    before = contents(folder)
    code, _, error = run(three_replicas, *place)
    assert code == 2
    assert f"error: {folder / 'report.md'} was changed since this command wrote it, or is not its file; name" in error
    assert contents(folder) == before


def spoil(folder: Path, way: str) -> str:
    """Put something of the user's into the folder. Returns the name of it."""
    if way == "link":
        (folder / "precious.md").write_text("precious")
        (folder / "report.md").symlink_to(folder / "precious.md")
    elif way == "folder":
        (folder / "cpu.png").mkdir()
        return "cpu.png"
    elif way == "list":
        (folder / LIST).write_text(f"{'0' * 64}  disk.img\n")
        return LIST
    return "report.md"


@pytest.mark.parametrize("way", ["link", "folder", "list"])
def test_what_is_in_the_way_is_named_and_stays(small: Path, tmp_path: Path, run: Any, way: str) -> None:
    name = spoil(tmp_path, way)
    before = sorted(path.name for path in tmp_path.iterdir())
    code, _, error = run(small, "--output", str(tmp_path))
    assert code == 2
    assert error.startswith(f"error: {tmp_path / name} is ")
    assert "name another folder with --output" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_file_in_place_of_the_folder_is_an_error(small: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "file").write_text("mine")
    code, _, error = run(small, "--output", str(tmp_path / "file"))
    assert (code, error) == (2, f"error: {tmp_path / 'file'} can't be written (File exists); name another place\n")


def test_without_a_place_it_is_beside_the_page(small: Path, tmp_path: Path, run: Any) -> None:
    results = Path(shutil.copytree(small, tmp_path / "results"))
    for _ in range(2):  # the second time nothing changes
        assert run(results)[0] == 0
    assert (results / "handin" / "report.md").is_file()
    assert command._place(ROOT / "examples" / "a", "handin") == ROOT / "results" / "a-handin"


def test_only_this_format_needs_matplotlib(small: Path) -> None:
    """A checkout that is newer than its packages still makes the page, and says what to do."""
    code = "import sys; sys.modules['matplotlib'] = None; from analysis.__main__ import main; sys.exit(main())"
    line = [sys.executable, "-c", code, str(small), "--format", "handin"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: the Python package matplotlib is not installed; run make setup\n"
