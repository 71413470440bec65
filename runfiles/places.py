"""Where the project's files lie, where the user's work lies, and how the commands are called.

In a checkout the two folders are one. What pip installs has the project in a folder of the package ``fourfold``, and
nobody writes there: the work lies in the folder in which the command ``fourfold`` was called.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The project's folder: Dockerfile, docker-compose.yml and the packages lie here."""

IS_INSTALLED = ROOT.name == "project" and (ROOT.parent / "command.py").is_file()

FOLDER_VARIABLE = "FOURFOLD_FOLDER"
"""By this variable the command ``fourfold`` tells all that it starts which folder it was called in."""

WORK = Path(os.environ.get(FOLDER_VARIABLE) or Path.cwd()) if IS_INSTALLED else ROOT
"""The user's folder: in ``.fourfold`` it has what is known of what runs."""

STATE = WORK / ".fourfold"

IS_IN_CONTAINER = IS_INSTALLED and "FOURFOLD_IN_CONTAINER" in os.environ
"""Whether the tool's image runs. The user's folder is then that of the results: it gets no other one of the machine."""

RESULTS = WORK if IS_IN_CONTAINER else WORK / "results"

INFRA = "fourfold" if IS_INSTALLED else ".venv/bin/python -m infra"
"""What a message tells the user to type, in the user's folder. So with the others."""

ANALYSIS = "fourfold report" if IS_INSTALLED else "python -m analysis"
COMPARE = "fourfold compare" if IS_INSTALLED else "python -m analysis compare"
BENCH = "fourfold run" if IS_INSTALLED else "make bench"
DOCTOR = "fourfold doctor" if IS_INSTALLED else "make doctor"
