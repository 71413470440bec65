"""``python -m infra.build [OPTION...]``: docker build of this project, with the settings of a closed network.

Settings that may contain a password are passed as build secrets, which are in no layer and not in ``docker history``:

- ``pip``: a pip.conf with the user's index, proxy and timeouts. It replaces the base image's /etc/pip.conf.
- ``ca``: the certificates (PEM) that pip and the hub's library trust there.
- ``torch-index``: the URL of the index that torch comes from.
- ``hub``: the hub's variables, a shell file.

Imports only the standard library, so an image can be built before anything is installed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from infra.environment import for_build, for_pip, forget_dead_proxies
from infra.install import TORCH_INDEX
from infra.paths import ROOT

DOCKERFILE_BASE = "python:3.12-slim"
BASE_IMAGE = os.environ.get("FOURFOLD_BASE_IMAGE") or DOCKERFILE_BASE
"""The base image: the one that the Dockerfile names, or the same at another registry."""

PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout", "retries")
PIP_REASONS = ("index-url", "extra-index-url", "trusted-host", "proxy")
"""The build's pip gets a configuration only if one of these is set."""

HUB_VARIABLES = (
    "HF_ENDPOINT",
    "HF_TOKEN",
    "HF_HUB_OFFLINE",
    "HF_HUB_DISABLE_XET",
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "HF_HUB_ETAG_TIMEOUT",
)
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
NO_PROXY_VARIABLES = ("NO_PROXY", "no_proxy")


def main(arguments: list[str]) -> int:
    forget_dead_proxies()
    with build_options() as options:
        command = ["docker", "build", *options, *arguments, str(ROOT)]
        try:
            return subprocess.run(command, env=for_build(), check=False).returncode
        except FileNotFoundError:
            print("error: there is no docker command on the PATH; install Docker and run again", file=sys.stderr)
            return 1


@contextmanager
def build_options() -> Iterator[list[str]]:
    """Options of ``docker build``. Their files exist as long as the block lasts."""
    try:
        pip = for_pip()
    except subprocess.CalledProcessError:
        print("warning: this Python has no pip that tells its settings; the build gets none of them", file=sys.stderr)
        pip = {}
    options = [part for name in _build_arguments() for part in ("--build-arg", name)]
    if BASE_IMAGE != DOCKERFILE_BASE:
        options += ["--build-context", f"{DOCKERFILE_BASE}=docker-image://{BASE_IMAGE}"]
    hub = {name: os.environ[name] for name in HUB_VARIABLES if os.environ.get(name)}
    certificates = pip.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or ""
    secrets = {
        "pip": pip_conf(pip),
        "ca": Path(certificates).read_text(encoding="utf-8") if Path(certificates).is_file() else "",
        "torch-index": TORCH_INDEX,
        "hub": "".join(f"{name}={shlex.quote(value)}\n" for name, value in hub.items()),
    }
    with tempfile.TemporaryDirectory(prefix="fourfold-build-") as folder:  # which this user alone may read
        for name, content in secrets.items():
            if content:
                path = Path(folder, name)
                path.write_text(content, encoding="utf-8")
                options += ["--secret", f"id={name},src={path}"]
        yield options


def pip_conf(variables: Mapping[str, str]) -> str:
    """A pip.conf with those PIP_ variables that are also right in the build; empty if none names an index or a proxy.

    Files of this machine, and its loopback addresses, can't be reached from the build.
    """
    settings = {}
    for key in PIP_KEYS:
        values = variables.get(f"PIP_{key.upper().replace('-', '_')}", "").split()
        if key == "proxy":
            values = [value for value in values if not _is_loopback(value)]
        if key in ("index-url", "extra-index-url"):
            values = [value for value in values if urlsplit(value).scheme in ("http", "https")]
        if values:
            settings[key] = " ".join(values)
    if not settings.keys() & set(PIP_REASONS):
        return ""
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())


def _build_arguments() -> list[str]:
    """The names of the proxy variables for Docker's build arguments. Their values stay out of the command line.

    A proxy at a loopback address can't be reached from the build.
    """
    proxies = [name for name in PROXY_VARIABLES if os.environ.get(name) and not _is_loopback(os.environ[name])]
    return proxies + [name for name in NO_PROXY_VARIABLES if proxies and os.environ.get(name)]


def _is_loopback(address: str) -> bool:
    host = urlsplit(address if "//" in address else f"//{address}").hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
