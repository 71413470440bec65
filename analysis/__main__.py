"""``python -m analysis RESULTS``: make the page of an experiment's folder, and print the key figures."""

from __future__ import annotations

import signal

if __name__ == "__main__" and (takes_ctrl_c := signal.getsignal(signal.SIGINT) is signal.default_int_handler):
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the imports without a traceback

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path

from rich import box
from rich.table import Table

from analysis import precision
from analysis.analyse import Analysis, analyse
from analysis.judge import words
from analysis.judge.capacities import carried, low_to_high
from analysis.judge.changes import effect_in_words, label
from analysis.judge.comparability import is_memory_comparable
from analysis.judge.doubts import INVALID_EXIT_CODE, KINDS
from analysis.judge.staircases import highest, rounds_reaching
from analysis.judge.verdicts import MAIN, NAMES, NONE, against_first
from analysis.measure.quantity import QUANTITIES, Estimate
from analysis.measure.rounds import Measurement
from analysis.read.grid import is_grid
from analysis.read.results import Deployment, read_results
from analysis.show.junit import Case, render_junit
from analysis.show.markdown import render_markdown
from analysis.show.output import write_output
from analysis.show.page import render
from analysis.terminal import NOT_MADE, print_headline, why_not_made
from runfiles.events import FAILED, STATUS_MEASURED
from runfiles.files import REPORT_FILE
from runfiles.places import ANALYSIS, COMPARE, RESULTS, ROOT

COLUMNS = {
    "median_ms": "median ms",
    "p95_ms": "p95 ms",
    "throughput_per_s": "answers/s",
    "cpu_ms_per_answer": "CPU ms/answer",
    "memory_mean_mb": "MB",
}
"""The key figures that the terminal shows -> what it calls them."""
HANDIN = "handin"
SUFFIXES = {"html": Path(REPORT_FILE).suffix, "markdown": ".md", HANDIN: f"-{HANDIN}"}
"""Format -> the end of the name of what is written. To hand in, that is a folder."""


def main() -> int:
    if sys.argv[1:2] == ["compare"]:
        # Imported here: its tests come from scipy.stats, which takes a third of a second that a page does not need.
        from analysis import compare  # noqa: PLC0415

        return compare.main(sys.argv[2:])
    if sys.argv[1:2] == ["precision"]:
        return precision.main(sys.argv[2:])
    parser = _parser()
    arguments = parser.parse_args()
    folders: list[Path] = arguments.results
    if len(folders) > 2:
        parser.error(f"{len(folders)} folders are named; name one, or two to set them side by side")
    if grids := [folder for folder in folders if is_grid(folder)]:
        if len(folders) > 1:
            parser.error(f"{grids[0]} is a grid, which has a page of its own; name it alone, or use: {COMPARE} OLD NEW")
        if arguments.format == HANDIN:
            parser.error(
                f"--format {HANDIN} goes with one experiment, and {grids[0]} is a grid; name the folder of a cell"
            )
        from analysis import grid_command  # noqa: PLC0415  as compare

        place = _place(grids[0], arguments.format)
        return grid_command.make(grids[0], arguments.format, place, arguments.output, arguments.junit)
    if len(folders) == 1:
        return _make_page(folders[0], arguments)
    if arguments.junit:
        parser.error(f"--junit goes with one folder; with two use: {COMPARE} OLD NEW --junit FILE")
    if arguments.format == HANDIN:
        parser.error(f"--format {HANDIN} goes with one folder")
    from analysis import two_command  # noqa: PLC0415  as compare

    names = "_and_".join(folder.resolve().name for folder in folders)
    place = RESULTS / f"{names}{SUFFIXES[arguments.format]}"
    return two_command.make(folders[0], folders[1], arguments.format, place, arguments.output)


def _make_page(results: Path, arguments: argparse.Namespace) -> int:
    """The page of one experiment, or its hand-in. Returns the exit code."""
    page: Path = arguments.output or _place(results, arguments.format)
    try:
        analysis = analyse(read_results(results))
        if arguments.format == HANDIN:
            page = _write_hand_in(analysis, page)
        else:
            content = render(analysis) if arguments.format == "html" else render_markdown(analysis)
            if arguments.output is None:
                page.parent.mkdir(exist_ok=True)
            write_output(page, content, follow_link=arguments.output is not None, results=[results])
        if arguments.junit:
            cases = render_junit(cases_of(analysis))
            write_output(arguments.junit, cases, follow_link=True, results=[results])
    except NOT_MADE as error:
        print(f"error: {why_not_made(error, page)}", file=sys.stderr)
        return 2
    _print_summary(analysis)
    print(f"The {'report' if arguments.format == HANDIN else 'page'}: {page.resolve().as_uri()}")
    return 0 if analysis.validity.is_valid else INVALID_EXIT_CODE


def _write_hand_in(analysis: Analysis, folder: Path) -> Path:
    """Write the folder to hand in. Returns the path of the report in it."""
    # Imported here: Matplotlib takes half a second that a page does not need.
    from analysis.show.hand_in_files import write_hand_in  # noqa: PLC0415

    return write_hand_in(analysis, folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=ANALYSIS,
        description="Make the page of an experiment's folder, of a grid's folder, or of two experiments with two "
        f"services side by side. To find regressions: {COMPARE} OLD NEW.",
        epilog="Exit code: 0 the page was made, 2 a folder or file can't be read or written, 3 the page was made, but "
        "an experiment or a cell of the grid is not valid, or the two can't be compared.",
    )
    folders = "the folder, such as results/2026-01-31T12-00-00; or two: ratios are the second over the first"
    parser.add_argument("results", type=Path, nargs="+", help=folders)
    place = (
        f"where to write the page. The default is {REPORT_FILE} in the folder of the experiment; for a folder in "
        "examples/ it is results/NAME.html, for two folders results/NAME_and_NAME.html. With --format markdown the "
        f"name ends with .md. With --format handin it is a folder: {HANDIN} in the folder of the experiment; for a "
        f"folder in examples/ it is results/NAME-{HANDIN}"
    )
    parser.add_argument("--output", type=Path, help=place)
    parser.add_argument(
        "--format",
        choices=tuple(SUFFIXES),
        default="html",
        help="html: the page (the default), "
        "markdown: its words and figures, handin: a folder with the report and plots that a course asks for",
    )
    parser.add_argument("--junit", type=Path, help="write what was found as JUnit XML there")
    return parser


def _place(results: Path, format: str) -> Path:
    """Where the page goes if the user named no place: into the experiment's folder. Those in ``examples/`` belong to
    the repository and stay as they are, so their pages go to ``results/``."""
    if results.resolve().parent == ROOT / "examples":
        return RESULTS / f"{results.resolve().name}{SUFFIXES[format]}"
    return results / (HANDIN if format == HANDIN else f"{Path(REPORT_FILE).stem}{SUFFIXES[format]}")


def cases_of(analysis: Analysis) -> list[Case]:
    """For JUnit: a case for each kind of reason that makes an experiment invalid, found or not, and each verdict."""
    cases = []
    for kind, title in KINDS.items():
        found = [doubt.text for doubt in analysis.validity.invalid if doubt.kind == kind]
        cases.append(Case("validity", title, failure="; ".join(found) if found else None))
    lacks = [doubt.text for doubt in analysis.validity.caveats if doubt.is_of_a_lack]
    cases += [
        Case("not whole", text, said="Something that the plan asked for is missing or incomplete.") for text in lacks
    ]
    for search in analysis.searches:
        interval = f" (95% interval {low_to_high(search.capacity)})" if search.capacity.has_interval else ""
        said = f"{carried(search.capacity)}{interval or f': {search.capacity.missing}'}"
        said = f"not valid: {search.disturbance}" if search.disturbance else said
        cases.append(Case("capacity", f"{search.title}: {search.objective}", said=said))
    for effect in analysis.effects:
        name = f"{effect.title}: change {effect.number}, {label(effect)}"
        cases.append(Case("changes", name, said=effect_in_words(effect)))
    for staircase in analysis.staircases:
        said = f"{highest(staircase)}, {rounds_reaching(staircase)}"
        cases.append(Case("highest rate", staircase.title, said=said))
    for verdict in analysis.verdicts:
        name = f"{words.pair(verdict)}: {verdict.key}"
        said = f"{words.ratio(verdict)} {words.verdict(verdict)}".strip()
        cases.append(Case("verdicts", name, said=said))
    return cases


def _print_summary(analysis: Analysis) -> None:
    """What the terminal says: the headline, the note, the key figures, the verdicts, and what speaks against them."""
    console = print_headline(analysis.headline)
    if analysis.results.note:
        console.print(analysis.results.note)
    for doubt in analysis.validity.invalid:
        console.print(f"not valid: {doubt.title}: {doubt.text}", style="red")
    if analysis.loads and not analysis.results.is_mixed:
        console.print(_figures(analysis.loads), soft_wrap=False)
    for line in _remarks(analysis):
        console.print(line)


def _figures(loads: Sequence[Measurement]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        title="Under load, without warm-up; n: requests",
        title_justify="left",
    )
    for name in ("", "n", *COLUMNS.values()):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=name != "")
    for load in loads:
        cells = [_cell(load.summary[key], QUANTITIES[key].digits) for key in COLUMNS]
        table.add_row(load.title, f"{load.summary['requests'].value:.0f}", *cells)
    return table


def _remarks(analysis: Analysis) -> Iterator[str]:
    """The lines below the figures: verdicts, deployments that were not measured, caveats."""
    loads = analysis.loads
    if not analysis.results.is_mixed and not all(
        is_memory_comparable(loads[0].deployment, load.deployment) for load in loads
    ):
        yield "MB: counted differently for the host process and for containers, so not comparable"
    yield from _verdicts(analysis)
    yield from _not_measured(analysis.results.deployments)
    if any(load.summary[key].is_part for load in loads for key in COLUMNS):
        yield f"*: {words.PART}"
    lacks = [doubt.text for doubt in analysis.validity.caveats if doubt.is_of_a_lack]
    yield from (f"caveat: {text}" for text in lacks)
    if others := len(analysis.validity.caveats) - len(lacks):
        yield f"The page has {others} {'other ' if lacks else ''}caveat{'s' if others > 1 else ''}."


def _not_measured(deployments: Sequence[Deployment]) -> Iterator[str]:
    """The deployments that were not begun: those with one reason in one line. Why rounds failed, a caveat tells."""
    titles: dict[tuple[str, str | None], list[str]] = {}
    for deployment in deployments:
        if deployment.status == STATUS_MEASURED or any(round_.status == FAILED for round_ in deployment.rounds):
            continue
        titles.setdefault((deployment.status, deployment.reason), []).append(deployment.title)
    for (status, reason), which in titles.items():
        yield f"{'; '.join(which)}: {status}: {reason}"


def _verdicts(analysis: Analysis) -> Iterator[str]:
    """The verdicts against the first deployment and, if that ran on another machine, against the first that did not."""
    comparable = {(found.subject.name, found.baseline.name) for found in against_first(analysis.verdicts).values()}
    for verdict in analysis.verdicts:
        is_first = verdict.baseline is analysis.loads[0]
        if not is_first and (verdict.subject.name, verdict.baseline.name) not in comparable:
            continue
        ratio, said = words.ratio(verdict), words.verdict(verdict)
        if verdict.kind != NONE:
            yield f"{words.pair(verdict)}, {NAMES[verdict.key]}: {words.ROUND_BY_ROUND} {ratio} {said}"
        elif verdict.key in MAIN:
            yield f"{words.pair(verdict)}: {said}"


def _cell(estimate: Estimate, digits: int) -> str:
    if not estimate.is_measured:
        return "-"
    return words.number(estimate, digits) + ("*" if estimate.is_part else "")


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has not all characters shows their codes
    if takes_ctrl_c:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        exit_code = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        exit_code = 130
    except BrokenPipeError:  # as behind `| head`: who read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        exit_code = 1
    sys.exit(exit_code)
