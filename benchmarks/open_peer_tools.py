"""Other tools that send requests at a constant rate, and how to read what each wrote of its requests.

h2load (Debian package nghttp2-client) sends all requests over one connection, each at its time, without waiting for
the answers before it (pipelining). A server that answers in order needs no more than that. It writes each request's
time in microseconds. vegeta takes as many connections as it needs.

What else there is, was tried at a server that takes 10 ms, with 20 requests per second. h2load says 10.5 ms for the
median and 10.7 ms for p99. httperf says 10.5 ms too, but takes a whole core, and names no p99. artillery says 10.9 and
18 ms, loadtest 10 and 17 ms: Node's timers delay what they read. autocannon says 43 and 99 ms: it sends in bursts.

Imports no installed package.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.errors import DeploymentError

MOST_IN_FLIGHT = 1000
"""So many requests may be unanswered."""
WRITTEN = "requests"
"""The file in which a tool writes its requests."""


@dataclass(frozen=True)
class Tool:
    """A program that sends requests at a constant rate.

    ``commands``: from the address, the rate in requests per second, the seconds and the folder for its files, the
    commands to run one after the other. The last one has written ``WRITTEN`` in that folder, of which ``read`` returns
    the response times in ms, in the order in which the requests were sent. ``how_to_get`` is a whole remedy.
    """

    name: str
    how_to_get: str
    commands: Callable[[str, int, int, Path], list[list[str]]]
    read: Callable[[str], list[float]]


def find_tool(name: str | None) -> Tool | None:
    """The tool of this name, or the first one of all, that is on the PATH."""
    return next((tool for tool in TOOLS if name in (None, tool.name) and shutil.which(tool.name)), None)


def why_no_tool(name: str | None) -> str | None:
    """Why there is nothing to compare with, and what to do."""
    if find_tool(name) is not None:
        return None
    wanted = [tool for tool in TOOLS if name in (None, tool.name)]
    remedy = ", or ".join(f"{tool.name} ({tool.how_to_get})" for tool in wanted)
    return f"{' and '.join(tool.name for tool in wanted)} can't be found on the PATH; install {remedy}"


def h2load_commands(url: str, rate_per_s: int, seconds: int, folder: Path) -> list[list[str]]:
    command = ["h2load", "--h1", "--clients=1", f"--max-concurrent-streams={MOST_IN_FLIGHT}", f"--rps={rate_per_s}"]
    return [[*command, f"--requests={rate_per_s * seconds}", f"--log-file={folder / WRITTEN}", url]]


def read_h2load(text: str) -> list[float]:
    """From the lines of ``--log-file``: when a request was sent (µs), its status, and how long it took (µs).

    Raises:
        DeploymentError: a request failed.
    """
    rows = [line.split("\t") for line in text.splitlines()]
    return _in_order([(int(sent_us), status, int(took_us) / 1e3) for sent_us, status, took_us in rows])


def vegeta_commands(url: str, rate_per_s: int, seconds: int, folder: Path) -> list[list[str]]:
    targets, results = folder / "targets", folder / "results.bin"
    targets.write_text(f"GET {url}\n", encoding="utf-8")
    attack = ["vegeta", "attack", f"-targets={targets}", f"-rate={rate_per_s}/1s", f"-duration={seconds}s"]
    encode = ["vegeta", "encode", "-to=csv", f"-output={folder / WRITTEN}", str(results)]
    return [[*attack, f"-output={results}"], encode]


def read_vegeta(text: str) -> list[float]:
    """From the CSV that vegeta's README describes: when a request was sent (ns), its status, how long it took (ns).

    Raises:
        DeploymentError: a request failed.
    """
    return _in_order([(int(row[0]), row[1], int(row[2]) / 1e6) for row in csv.reader(text.splitlines())])


def _in_order(requests: Sequence[tuple[int, str, float]]) -> list[float]:
    failed = [status for _, status, _ in requests if not status.startswith("2")]
    if failed:
        raise DeploymentError(f"{len(failed)} of {len(requests)} requests failed, the first with status {failed[0]}")
    return [took_ms for _, _, took_ms in sorted(requests)]


TOOLS = (
    Tool("h2load", "Debian, Ubuntu: sudo apt install nghttp2-client", h2load_commands, read_h2load),
    Tool("vegeta", "its project page is https://github.com/tsenart/vegeta", vegeta_commands, read_vegeta),
)
