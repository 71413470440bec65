"""``python -m infra.single_pass HOST PORT [PREFIX]``: a single pass as in an experiment, for latency_test.sh."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import addresses
from infra.environment import for_load
from infra.experiment.load import locust


def main(host: str, port: str, prefix: str | None = None) -> int:
    """Print Locust's output. Returns Locust's exit code; 128 plus the signal's number if a signal ended the pass, as a
    shell does; 2 if host or port is not valid."""
    try:
        url = addresses.written(host, port).url
    except addresses.NotAnAddress as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    command = [*locust("single_pass"), "--loglevel", "WARNING", "--host", url]
    command += ["--csv", prefix] if prefix is not None else []
    with tempfile.TemporaryDirectory(prefix="fourfold-") as empty:
        process = subprocess.Popen(
            command,
            cwd=empty,
            env=for_load(Path(empty)),
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches Locust once: from here
        )
        received: list[int] = []

        def hand_on(number: int, _frame: object) -> None:
            received.append(number)
            process.send_signal(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, hand_on)
        code = process.wait()
    return 128 + received[0] if received and code == 0 else code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
