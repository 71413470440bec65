"""``python -m infra.single_pass URL [PREFIX]``: one single pass, as an experiment runs it; latency_test.sh calls it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.environment import for_load
from infra.load import locust


def main(url: str, prefix: str | None = None) -> int:
    """Print Locust's output; the exit code is Locust's."""
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
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: process.send_signal(number))
        return process.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
