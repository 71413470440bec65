"""docs/reliability.md's table, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.needs import write_text

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def write_report(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Put the table between BEGIN and END in ``path``.

    Raises:
        ValueError: the file has no such lines.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no lines {BEGIN} and {END} to put the table between")
    write_text(path, f"{before}{BEGIN}\n\n{table(rows)}\n{END}{after}")


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table with a row for each fault."""
    lines = ["| fault | what must hold | measured | holds |", "|---|---|---|---|"]
    for row in rows:
        figures = "<br>".join(f"{words}: {_shown(value)}" for words, value in row["figures"].items())
        measured = row["lacking"] or (f"(short form)<br>{figures}" if row["short"] else figures)
        cells = (_sentence(row["title"]), _sentence(row["promise"]), measured, _verdict(row))
        lines.append(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in cells)} |")
    return "\n".join([*lines, ""])


def _verdict(row: Mapping[str, Any]) -> str:
    if row["lacking"]:
        return "not measured"
    return f"**no**: {' '.join(row['broken'])}" if row["broken"] else "yes"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
