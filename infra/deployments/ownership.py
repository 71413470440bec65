"""Which checkout made a thing on an engine: Fourfold labels all that it makes with the checkout.

Several checkouts, also on several machines, may use one engine, and their containers have the same names.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from infra.paths import INFRA, IS_INSTALLED, STATE, WORK

UP = "fourfold up" if IS_INSTALLED else "infra up"

LABEL = "io.fourfold"
"""On everything that Fourfold makes. Fourfold never touches anything without it."""

CHECKOUT_LABEL = f"{LABEL}.checkout"

FOLDER = os.fsencode(WORK).decode("utf-8", "backslashreplace")
"""This checkout's real folder, escaped where its name is not UTF-8: an engine would not return that unchanged."""

CHECKOUT = f"{FOLDER} on {platform.node()}"


def labels(kind: str) -> dict[str, str]:
    """The labels of a thing that this checkout makes."""
    return {LABEL: kind, CHECKOUT_LABEL: CHECKOUT}


def is_ours(found: Mapping[str, str]) -> bool:
    """Whether this checkout made the thing that has these labels."""
    folder, node = checkout_of(found)
    return LABEL in found and node == platform.node() and (folder == FOLDER or _is_root(folder))


def still_there(what: str, down: str) -> str:
    """Why a deployment can't be started if ``what`` of this checkout is left. ``down`` is its name for infra down."""
    return (
        f"{what} is still there, from {UP} or from a run that was killed; remove it ({INFRA} down {down}) and run again"
    )


def why_not_ours(found: Mapping[str, str], what: str, down: str, by_hand: str) -> str | None:
    """Which other checkout made ``what``, and how to remove it: with ``infra down`` in that checkout, or ``by_hand`` if
    it can't. None for what this checkout made, and for what Fourfold did not make."""
    if LABEL not in found or is_ours(found):
        return None
    folder, node = checkout_of(found)
    if not folder:
        return (
            f"{what} was made by an earlier version of Fourfold, which did not record its checkout; "
            f"if nobody uses it, remove it by hand: {by_hand}"
        )
    end_there = f"end it there: {INFRA} down {down}"
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
    """Folder and machine of the checkout that made a thing; empty if the labels do not name them."""
    folder, _, node = found.get(CHECKOUT_LABEL, "").rpartition(" on ")
    return folder, node


def is_gone(folder: str) -> bool:
    """Whether a folder of this machine no longer holds a checkout, nor the state of the installed command. False if
    that can't be seen."""
    for known in ("infra/__main__.py", STATE.name):
        try:
            Path(folder, known).stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError):
            return False
        return False
    return True


def _is_root(folder: str) -> bool:
    """The same folder may have several names: another case, or a mount."""
    try:
        return Path(folder).samefile(WORK)
    except (OSError, ValueError):
        return False
