"""``python -m analysis FIRST SECOND``: the page of two experiments with two services."""

from __future__ import annotations

import sys
from pathlib import Path

from analysis.analyse import analyse
from analysis.judge.doubts import INVALID_EXIT_CODE
from analysis.read.results import read_results
from analysis.show.output import write_output
from analysis.show.page_markdown import page_as_markdown
from analysis.show.two_page import render_two, two_page
from analysis.terminal import NOT_MADE, print_headline, why_not_made
from analysis.two import TwoServices, set_side_by_side


def _as_markdown(two: TwoServices) -> str:
    return page_as_markdown(two_page(two))


RENDERERS = {"html": render_two, "markdown": _as_markdown}
"""Format -> what makes it."""


def make(first: Path, second: Path, format: str, default: Path, output: Path | None) -> int:
    """Make the page and print what was found; the exit code is that of ``python -m analysis``.

    Args:
        first, second: the folders of the experiments.
        format: one of ``RENDERERS``.
        default: where the page goes if the user named no place. Its folder is made if it is missing.
        output: the place that the user named.
    """
    page = output or default
    try:
        two = set_side_by_side(*(analyse(read_results(folder)) for folder in (first, second)))
        content = RENDERERS[format](two)
        if output is None:
            page.parent.mkdir(exist_ok=True)
        write_output(page, content, follow_link=output is not None, results=[first, second])
    except NOT_MADE as error:
        print(f"error: {why_not_made(error, page)}", file=sys.stderr)
        return 2
    _print_summary(two)
    print(f"The page: {page.resolve().as_uri()}")
    return 0 if two.is_valid else INVALID_EXIT_CODE


def _print_summary(two: TwoServices) -> None:
    """What the terminal says: the headline, the ratios with their verdicts, and what speaks against them."""
    console = print_headline(two.headline)
    for side in two.sides:
        for doubt in side.validity.invalid:
            console.print(f"not valid: {side.service}: {doubt.title}: {doubt.text}", style="red")
    for text in two.caveats:
        console.print(f"caveat: {text}")
