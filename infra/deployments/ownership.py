"""Whose a thing on an engine is: all that Fourfold makes carries the checkout that made it as a label.

Several checkouts, also of several machines, may use one engine, and their containers have the same names.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from infra.paths import ROOT

LABEL = "io.fourfold"
"""On all that Fourfold makes; what does not carry it is never touched."""

CHECKOUT_LABEL = f"{LABEL}.checkout"

FOLDER = os.fsencode(ROOT).decode("utf-8", "backslashreplace")
"""This checkout's real folder; a name that is not UTF-8 would not come back from an engine as it was."""

CHECKOUT = f"{FOLDER} on {platform.node()}"


def labels(kind: str) -> dict[str, str]:
    """What a thing of this checkout carries."""
    return {LABEL: kind, CHECKOUT_LABEL: CHECKOUT}


def is_ours(found: Mapping[str, str]) -> bool:
    """Whether this checkout made what carries these labels."""
    folder, node = checkout_of(found)
    return LABEL in found and node == platform.node() and (folder == FOLDER or _is_root(folder))


def why_not_ours(found: Mapping[str, str], what: str, down: str, by_hand: str) -> str | None:
    """Whose ``what`` is, if another checkout made it, and how it is removed: with ``down`` there, or ``by_hand`` if
    that checkout can't do it. None for what this checkout made, and for what Fourfold did not make."""
    if LABEL not in found or is_ours(found):
        return None
    folder, node = checkout_of(found)
    if not folder:
        return (
            f"{what} was made by an earlier version of Fourfold, which did not record its checkout; "
            f"if nobody uses it, remove it by hand: {by_hand}"
        )
    end_there = f"end it there: python -m infra down {down}"
    if node != platform.node():
        return (
            f"{what} belongs to the checkout {folder} on {node}; {end_there}; "
            f"if that checkout is gone, remove it by hand: {by_hand}"
        )
    if is_gone(folder):
        return (
            f"{what} belongs to the checkout {folder}, which is gone; if nobody uses it, remove it by hand: {by_hand}"
        )
    return f"{what} belongs to the checkout {folder}; {end_there}"


def checkout_of(found: Mapping[str, str]) -> tuple[str, str]:
    """Folder and machine of the checkout that made a thing; empty where it does not say."""
    folder, _, node = found.get(CHECKOUT_LABEL, "").rpartition(" on ")
    return folder, node


def is_gone(folder: str) -> bool:
    """Whether there is no checkout in a folder of this machine any more; not, where that can't be seen."""
    try:
        Path(folder, "infra", "__main__.py").stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def _is_root(folder: str) -> bool:
    """The same folder may have several names: another case, or a mount."""
    try:
        return Path(folder).samefile(ROOT)
    except (OSError, ValueError):
        return False
