"""The load: wrk for a steady load, and a burst of requests for overload."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parent / "load.lua"
LONGEST_ANSWER_S = 60


def start_wrk(
    url: str, bodies: Path, connections: int, seconds: float, *, new_connections: bool = False, accept: str = ""
) -> subprocess.Popen[str]:
    """Begin to load ``url``. The last line that wrk prints is JSON. ``accept`` is the header; empty: none is sent."""
    own = {"BODIES": str(bodies)} | ({"NEW_CONNECTIONS": "1"} if new_connections else {})
    own |= {"ACCEPT": accept} if accept else {}
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(SCRIPT), url]
    return subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What wrk measured: requests, their rate (``throughput``, 1/s), latencies in ms, refusals and errors."""
    output, _ = process.communicate(timeout=120)
    if process.returncode != 0:
        raise SystemExit(f"error: wrk ended with exit code {process.returncode}")
    found = dict(json.loads(output.strip().splitlines()[-1]))
    return found | {"throughput": found["requests"] / found["seconds"]}


def steady(
    url: str, bodies: Path, connections: int, seconds: float, *, new_connections: bool = False, accept: str = ""
) -> dict[str, Any]:
    """Load ``url`` for ``seconds`` over ``connections``, each with one request at a time."""
    return result_of(start_wrk(url, bodies, connections, seconds, new_connections=new_connections, accept=accept))


def burst(port: int, path: str, text: str, requests: int) -> dict[str, Any]:
    """Open as many connections as requests first, then send all requests at once.

    Returns for each status the number of answers, and the times in ms after which half and all of them had arrived.
    """
    return asyncio.run(_burst(port, path, text, requests))


async def _burst(port: int, path: str, text: str, requests: int) -> dict[str, Any]:
    body = json.dumps({"text": text})
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
    message = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
    go = asyncio.Event()
    opened = 0
    began = 0.0

    async def send() -> tuple[int, float]:
        nonlocal opened
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            opened += 1
            await go.wait()
            writer.write(message)
            async with asyncio.timeout(LONGEST_ANSWER_S):  # a connection may be lost in the server's full queue
                line = await reader.readline()
            took = (time.monotonic() - began) * 1000
            writer.close()
            return int(line.split()[1]), took
        except (OSError, IndexError):
            return 0, (time.monotonic() - began) * 1000

    tasks = [asyncio.create_task(send()) for _ in range(requests)]
    until = time.monotonic() + 30
    while opened < requests and time.monotonic() < until:
        await asyncio.sleep(0.02)
    began = time.monotonic()
    go.set()
    answers = await asyncio.gather(*tasks)
    return {"requests": requests, "opened": opened} | _by_status(answers)


def _by_status(answers: Sequence[tuple[int, float]]) -> dict[str, Any]:
    found = {}
    for status in sorted({status for status, _ in answers}):
        times = sorted(took for answered, took in answers if answered == status)
        found[str(status) if status else "no answer"] = {
            "count": len(times),
            "half_within_ms": times[len(times) // 2],
            "all_within_ms": times[-1],
        }
    return found
