"""Reads the Server-Timing header, in which an answer says how long its parts took."""

from __future__ import annotations

import math
import re

_QUOTED = r'"(?:[^"\\]|\\.)*"?'
_NUMBER = re.compile(r"\+?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def server_timing(header: str) -> dict[str, float]:
    """Durations in ms by name, from a Server-Timing header (W3C Server Timing, section 4).

    If a name or a parameter occurs twice, the first one counts. A duration that is not a finite number, 0 or more, is
    left out.
    """
    found: dict[str, float] = {}
    for metric in re.findall(rf"(?:[^,\"]|{_QUOTED})+", header):
        name, _, rest = metric.partition(";")
        parameters = [parameter.partition("=") for parameter in re.findall(rf"(?:[^;\"]|{_QUOTED})+", rest)]
        pairs = [(key.strip().lower(), value) for key, _, value in parameters]
        said = next((value for key, value in pairs if key == "dur"), "").strip()
        if said.startswith('"'):
            said = re.sub(r"\\(.)", r"\1", said.strip('"'))
        if _NUMBER.fullmatch(said) and math.isfinite(float(said)):
            found.setdefault(name.strip(), float(said))
    return found
