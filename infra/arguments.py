"""Values of options that several commands take."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def seconds_up_to(most_s: int, least_s: float = 0.0) -> Callable[[str], float]:
    """What reads an option that is a number of seconds above 0, of at least ``least_s`` and at most ``most_s``."""

    def seconds(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = 0.0
        if not (found > 0 and least_s <= found <= most_s):
            least = f", {least_s:g} or more" if least_s else ""
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to {most_s}{least}")
        return found

    return seconds
