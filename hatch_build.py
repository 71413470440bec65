"""Tells the builder of the wheel what the requirements files say, so that each range stands in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Requirements(MetadataHookInterface):
    """``dependencies``: what measures and what serves. The extra ``torch``: what exports other models than the bundled
    one, which comes exported."""

    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        metadata["dependencies"] = _lines(root / "requirements.txt") + _lines(root / "inference/requirements-serve.txt")
        metadata["optional-dependencies"] = {"torch": _lines(root / "inference/requirements.txt")}


def _lines(requirements: Path) -> list[str]:
    """What a requirements file names itself, without the files that it includes."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r "))]
