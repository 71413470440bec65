"""What Markdown and the hand-in say: the service's name, why there is no interval (once), and a reason in full."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from recorded_runs import NASTY, measured, not_run, steady_requests, steady_samples, write_experiment, write_run

from analysis.analyse import Analysis, analyse
from analysis.read.results import read_results
from analysis.show.hand_in import NO_INTERVALS
from analysis.show.hand_in_plots import PLOTS, WIDTH_INCHES, draw
from analysis.show.hand_in_report import render_report
from analysis.show.markdown import render_markdown
from analysis.show.page import page_sections

SVG = "{http://www.w3.org/2000/svg}"
REASON = (
    "this kernel (6.1.0) has no IPVS, with which Swarm's routing mesh balances; load or install the module ip_vs, or "
    "run on another machine, or choose other deployments with --only"
)


def experiment(folder: Path, rounds: int, **about: object) -> Analysis:
    """A host process and a container, and Swarm, which could not run."""
    deployments = [measured("host", rounds), measured("docker", rounds), not_run("swarm-3", REASON)]
    write_experiment(folder, deployments, **about)
    for number in range(1, rounds + 1):
        for name in ("host", "docker"):
            samples = steady_samples(0.3 + number / 100)
            write_run(folder / name, "load", steady_requests(60), samples, number=number)
    return analyse(read_results(folder))


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ({"name": "my-app", "method": "GET", "path": "/classify"}, "Service: my-app (GET /classify). 4 users"),
        ({"name": NASTY, "method": "POST", "path": "/"}, None),
        (None, "\n4 users"),
    ],
)
def test_markdown_names_the_service_as_the_page_does(
    tmp_path: Path, service: dict[str, str] | None, expected: str | None
) -> None:
    told = None if service is None else service | {"file": "service.toml", "content": "", "tells_model": False}
    said = render_markdown(experiment(tmp_path, 1, service=told))
    assert ("Service: " in said) == (service is not None)
    assert "<script" not in said.replace("\\<", "")
    assert expected is None or expected in said


@pytest.mark.parametrize(
    ("rounds", "has_intervals", "lacks_intervals"), [(1, False, True), (2, False, True), (3, True, False)]
)
def test_that_there_is_no_interval_is_said_once_and_in_no_cell(
    tmp_path: Path, rounds: int, has_intervals: bool, lacks_intervals: bool
) -> None:
    analysis = experiment(tmp_path, rounds)
    report = render_report(analysis)
    rows = [line for line in report.splitlines() if line.startswith("| ")]
    assert not any("no interval" in row for row in rows)
    figures, claims = report.split("## 3. ")[1].split("## 4. ")[0], report.split("## 6. ")[1]
    for part in (figures, claims):
        assert part.count(NO_INTERVALS) == lacks_intervals
        assert part.count("Two numbers in brackets are a 95% interval.") == has_intervals
    assert any(re.search(r"\([\d.]+ to [\d.]+\)", row) for row in rows) == has_intervals
    (section,) = (section for section in page_sections(analysis) if section.id == "hand-in")
    assert (NO_INTERVALS in section.how_to_read) == lacks_intervals
    assert ("Below a figure is its 95% interval." in section.how_to_read) == has_intervals


def test_a_reason_stands_in_full_in_its_plot_and_makes_its_row_higher(tmp_path: Path) -> None:
    files = draw(PLOTS[0], experiment(tmp_path / "long", 1))
    svg = ElementTree.fromstring(files["cpu.svg"])  # noqa: S314 - our own
    lines = [text.strip() for text in svg.itertext() if text.strip()]
    first = next(place for place, line in enumerate(lines) if line.startswith("not measured: "))
    last = next(place for place, line in enumerate(lines) if line.endswith("--only"))
    assert " ".join(lines[first : last + 1]) == f"not measured: {REASON}"
    assert "..." not in files["cpu.svg"].decode()
    width, height = (float(svg.attrib[name].removesuffix("pt")) / 72 for name in ("width", "height"))
    write_experiment(tmp_path / "short", [measured("host"), measured("docker"), not_run("swarm-3", "not in the plan")])
    for name in ("host", "docker"):
        write_run(tmp_path / "short" / name, "load", steady_requests(60), steady_samples(0.3))
    short = draw(PLOTS[0], analyse(read_results(tmp_path / "short")))["cpu.svg"]
    assert width == pytest.approx(WIDTH_INCHES)
    least = float(ElementTree.fromstring(short).attrib["height"].removesuffix("pt")) / 72  # noqa: S314 - our own
    assert (last - first - 1) * 8 / 72 < height - least < 0.6
