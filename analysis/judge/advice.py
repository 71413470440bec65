"""The command that ran the experiment, with another value: what a user is told to run next."""

from __future__ import annotations

import argparse
import shlex

RUN = ["-m", "infra", "run"]
"""In a record the command's arguments come after these words, and Python before them;"""

INSTALLED_RUN = ["fourfold", "run"]
"""or, if Fourfold was installed, after these."""


def command_with(
    command: str, *, rounds: int | None = None, only: str | None = None, budget_minutes: int | None = None
) -> str:
    """The command to copy that measures the same as before, but for these values.

    Args:
        command: the command that ran the experiment, as its record has it.
        rounds: so many rounds; None: as before.
        only: the deployments, with commas between them; None: as before.
        budget_minutes: so much time for all rounds; None: as before.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--set", nargs="+", action="extend", default=[])
    parser.add_argument("--only")
    try:
        words = shlex.split(command)
        is_installed = words[:2] == INSTALLED_RUN
        given, others = parser.parse_known_args(words[2:] if is_installed else words[4:] if words[1:4] == RUN else [])
    except (ValueError, argparse.ArgumentError):  # a record that somebody has changed
        is_installed = False
        given, others = parser.parse_known_args([])
    numbers = {"rounds=": rounds, "budget_minutes=": budget_minutes}
    changed = [key for key, value in {**numbers, "deployments=": only}.items() if value is not None]
    values = [value for value in given.set if not value.startswith(tuple(changed))]
    values += [f"{key}{value}" for key, value in numbers.items() if value is not None]
    names = only or given.only
    arguments = shlex.join([*others, *(["--only", names] if names else []), *(["--set", *values] if values else [])])
    if is_installed:
        return shlex.join(INSTALLED_RUN) + f" {arguments}"
    if set(arguments) & set('"$`\\!'):  # in double quotes the shell would read these, and make reads a dollar
        return f"make bench ARGS={shlex.quote(arguments.replace('$', '$$'))}"
    return f'make bench ARGS="{arguments}"'
