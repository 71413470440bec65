"""What every command that makes a page says on the terminal: its headline, or why there is no page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from analysis.read.records import UnreadableResults
from analysis.show.output import KeptFile, RecordedFile

NOT_MADE = (UnreadableResults, RecordedFile, KeptFile, OSError, ModuleNotFoundError)
"""The errors that a user can cause."""


def why_not_made(error: Exception, page: Path) -> str:
    """The cause and the remedy of one of ``NOT_MADE``. ``page``: what was to be written."""
    if isinstance(error, OSError):
        return f"{error.filename or page} can't be written ({error.strerror}); name another place"
    if isinstance(error, ModuleNotFoundError):  # a checkout that is newer than its packages
        return f"the Python package {error.name} is not installed; run make setup"
    return str(error)


def print_headline(headline: Sequence[str]) -> Console:
    """Print the sentence and its numbers. Returns the console for what comes below; it takes no text for markup."""
    console = Console(highlight=False, emoji=False, markup=False, soft_wrap=True)
    first, *numbers = headline
    console.print(first, style="bold")
    for text in numbers:
        console.print(text)
    return console
