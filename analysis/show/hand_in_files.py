"""Writes the folder to hand in: the report and the plots, and a list of these files with their checksums.

The student writes into the report. So a file is written over only if it is still as this command wrote it (the list
tells), or if it would not change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from analysis.analyse import Analysis
from analysis.show.hand_in_plots import PLOTS, draw
from analysis.show.hand_in_report import render_report
from analysis.show.output import KeptFile, encoded, write_output

HAND_IN_REPORT = "report.md"
LIST = "sha256sums.txt"
LIST_HEAD = (
    "# Written by: python -m analysis RESULTS --format handin. It writes over these files while they are unchanged."
)
"""The first line of the list. `sha256sum --check` leaves it out."""


def write_hand_in(analysis: Analysis, folder: Path) -> Path:
    """Write all files to hand in into ``folder``, which is made if it is missing. Each file is written whole or not at
    all. Returns the path of the report.

    Raises:
        KeptFile: a file there is not this command's, or was changed. Nothing has been written.
        OSError: a file can't be read or written.
    """
    files = {HAND_IN_REPORT: encoded(render_report(analysis))}
    for plot in PLOTS:
        files |= draw(plot, analysis)
    _refuse_others(folder, files)
    folder.mkdir(parents=True, exist_ok=True)
    sums = "".join(f"{_sha256(content)}  {name}\n" for name, content in files.items())
    for name, content in (files | {LIST: f"{LIST_HEAD}\n{sums}".encode()}).items():
        # No results are named: whatever folder it is, the files there were looked at above.
        write_output(folder / name, content, follow_link=False, results=())
    return folder / HAND_IN_REPORT


def _refuse_others(folder: Path, files: Mapping[str, bytes]) -> None:
    """Look at what is in the folder.

    Raises:
        KeptFile: one of the files is there, and is not as this command wrote it.
    """
    listed = _listed(folder / LIST)
    for name, content in files.items():
        path = folder / name
        if not path.exists() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file():
            raise KeptFile(f"{path} is in the way: it is no plain file; name another folder with --output")
        found = path.read_bytes()
        if found != content and _sha256(found) != listed.get(name):
            raise KeptFile(
                f"{path} was changed since this command wrote it, or is not its file; name another folder with "
                "--output, or move the file away"
            )


def _listed(path: Path) -> dict[str, str]:
    """The checksum of each file that this command wrote, by its name; none if there is no list yet.

    Raises:
        KeptFile: the file is no such list.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    if path.is_symlink() or lines[:1] != [LIST_HEAD]:
        raise KeptFile(f"{path} is not this command's list of files; name another folder with --output")
    return {name: checksum for checksum, _, name in (line.partition("  ") for line in lines[1:])}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
