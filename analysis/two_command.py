"""``python -m analysis FIRST SECOND``: the page of two experiments with two services."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from analysis.analyse import analyse
from analysis.judge.doubts import INVALID_EXIT_CODE
from analysis.read.records import UnreadableResults
from analysis.read.results import read_results
from analysis.show.output import RecordedFile, write_output
from analysis.show.two_markdown import render_two_markdown
from analysis.show.two_page import render_two
from analysis.two import TwoServices, set_side_by_side

RENDERERS = {"html": render_two, "markdown": render_two_markdown}
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
    except (UnreadableResults, RecordedFile) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        place = error.filename or page
        print(f"error: {place} can't be written ({error.strerror}); name another place", file=sys.stderr)
        return 2
    _print_summary(two)
    print(f"The page: {page.resolve().as_uri()}")
    return 0 if two.is_valid else INVALID_EXIT_CODE


def _print_summary(two: TwoServices) -> None:
    """What the terminal says: the headline, the ratios with their verdicts, and what speaks against them."""
    console = Console(highlight=False, emoji=False)
    headline, *numbers = two.headline
    console.print(headline, markup=False, soft_wrap=True, style="bold")
    for text in numbers:
        console.print(text, markup=False, soft_wrap=True)
    for side in two.sides:
        for doubt in side.validity.invalid:
            said = f"not valid: {side.service}: {doubt.title}: {doubt.text}"
            console.print(said, markup=False, soft_wrap=True, style="red")
    for text in two.caveats:
        console.print(f"caveat: {text}", markup=False, soft_wrap=True)
