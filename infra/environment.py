"""The environment of every process that Fourfold starts.

A person's shell has settings of other projects: proxies, LOCUST_*, PIP_*, PYTHON*, COMPOSE_*, GIT_*, OMP_NUM_THREADS.
An experiment must depend only on its plan and the machine. So each child process gets only the variables that
``PASSED`` names for its kind. Imports only the standard library, as set-up runs this before anything is installed.
"""

from __future__ import annotations

import ast
import locale
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from addresses import NO_PROXY
from infra.paths import ROOT

EVERY, DOCKER, DOWNLOAD, SERVICE = "every process", "Docker", "downloads", "the service"


@dataclass(frozen=True)
class Passed:
    """Variables that one kind of process gets, and why. A name that ends with ``*`` stands for all that begin so."""

    names: str
    to: str
    reason: str


PASSED = (
    Passed("PATH", EVERY, "where programs are"),
    Passed("FOURFOLD_FOLDER FOURFOLD_IN_CONTAINER", EVERY, "set by the installed command: which folder is the user's"),
    Passed("HOME USER LOGNAME", EVERY, "whose caches and settings are used; Locust gets an empty folder as HOME"),
    Passed("TMPDIR TZ", EVERY, "where temporary files go, and the time zone of times that are shown"),
    Passed("TERM COLORTERM COLUMNS LINES NO_COLOR", EVERY, "how the terminal shows text"),
    Passed("LD_LIBRARY_PATH DYLD_LIBRARY_PATH", EVERY, "where this machine keeps libraries that Python needs"),
    Passed("OPENBLAS_CORETYPE OPENBLAS_L2_SIZE", EVERY, "NumPy can't start on some machines without them"),
    Passed("DOCKER_HOST DOCKER_CONTEXT DOCKER_CONFIG", DOCKER, "which engine is used, and Docker's settings"),
    Passed("DOCKER_TLS DOCKER_TLS_VERIFY DOCKER_CERT_PATH DOCKER_API_VERSION", DOCKER, "how to talk to that engine"),
    Passed("SSH_AUTH_SOCK XDG_RUNTIME_DIR", DOCKER, "keys for an engine at ssh://, socket of a rootless engine"),
    Passed("WSL_INTEROP WSL_DISTRO_NAME", DOCKER, "Docker Desktop runs its own programs from within WSL"),
    Passed("HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY", DOWNLOAD, "the way out of a closed network (lower case too)"),
    Passed("http_proxy https_proxy all_proxy no_proxy", DOWNLOAD, "as above"),
    Passed("SSL_CERT_FILE SSL_CERT_DIR NIX_SSL_CERT_FILE", DOWNLOAD, "certificates of a proxy or mirror"),
    Passed("REQUESTS_CA_BUNDLE CURL_CA_BUNDLE", DOWNLOAD, "as above"),
    Passed("NETRC DBUS_SESSION_BUS_ADDRESS GNUPGHOME PASSWORD_STORE_DIR", DOWNLOAD, "where passwords are kept"),
    Passed("AWS_* AZURE_* GOOGLE_APPLICATION_CREDENTIALS", DOWNLOAD, "passwords for cloud registries"),
    Passed("HF_* HUGGING_FACE_HUB_TOKEN XDG_CACHE_HOME", DOWNLOAD, "where models come from and are cached"),
    Passed("INFERENCE_*", SERVICE, "the service's own settings; they are saved in experiment.json"),
    Passed("CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER", SERVICE, "which GPUs of this machine may be used"),
)

PIP_SETTINGS = {
    "index-url": "where packages come from",
    "extra-index-url": "as above",
    "find-links": "as above",
    "no-index": "as above",
    "trusted-host": "a mirror without HTTPS",
    "proxy": "the way out of a closed network",
    "cert": "certificate of a proxy or mirror",
    "client-cert": "as above",
    "use-feature": "such as truststore: the system's certificates",
    "keyring-provider": "where passwords for mirrors are kept",
    "timeout": "a slow mirror",
    "default-timeout": "as above",
    "retries": "as above",
    "cache-dir": "where downloads are kept",
    "no-cache-dir": "as above",
    "constraint": "versions that an administrator allows",
    "only-binary": "as above",
    "no-binary": "as above",
    "prefer-binary": "as above",
}
"""Settings of pip, from its files and PIP_ variables, that set-up uses. All others (user, target, prefix, dry-run,
no-deps, ...) would change where or whether it installs."""

_NAMES_ENGINE = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")

_engine: dict[str, str] = {}
"""What takes the place of the user's variables of an engine, see ``use_engine_at``."""

PROXY_TIMEOUT_S = 2
_PROXIES = tuple(f"{scheme}_proxy" for scheme in ("http", "https", "all"))
_PROXIES += tuple(name.upper() for name in _PROXIES)


def for_python() -> dict[str, str]:
    """For a Python program of this project that only reads and writes files, and for Git and the like."""
    return _passed(EVERY) | {"PYTHONUTF8": "1"}


def for_git() -> dict[str, str]:
    """For Git: it looks for a repository in the project's folder, not in the folders above it."""
    return for_python() | {"GIT_CEILING_DIRECTORIES": str(ROOT.parent)}


def for_docker() -> dict[str, str]:
    """For the docker command, which then uses the engine that the user's shell names."""
    return _passed(EVERY, DOCKER)


def use_engine_at(url: str | None) -> None:
    """Let the docker commands and Locust that are started from now on use the engine at ``url``; None: the one that the
    user's own variables name."""
    _engine.clear()
    if url is not None:
        _engine["DOCKER_HOST"] = url


def for_build() -> dict[str, str]:
    """For ``docker build``. The engine itself builds: an image of another builder would not be on the engine."""
    return _passed(EVERY, DOCKER, DOWNLOAD) | {"DOCKER_BUILDKIT": "1", "BUILDX_BUILDER": "default"}


def for_service() -> dict[str, str]:
    """For the service as a host process, which may download its model. It does not get variables that would change it
    but no container (OMP_NUM_THREADS, MALLOC_*, LD_PRELOAD)."""
    return _passed(EVERY, DOWNLOAD, SERVICE) | {"PYTHONUTF8": "1"}


def for_load(empty: Path) -> dict[str, str]:
    """For Locust. Its HOME is an empty folder, as it would read ~/.locust.conf there; start it in that folder too.

    DOCKER_CONFIG names the folder of Docker's settings, as the monitor in Locust needs them to sample containers.
    """
    return _passed(EVERY, DOCKER) | {"HOME": str(empty), "PYTHONUTF8": "1"} | _docker_settings()


def for_tests(empty: Path) -> dict[str, str]:
    """For pytest and what tests start: as ``for_load``, with caches and FOURFOLD_ variables, without proxies."""
    caches = {"XDG_CACHE_HOME": str(Path.home() / ".cache"), "GIT_CONFIG_GLOBAL": str(Path.home() / ".gitconfig")}
    named = {name: value for name, value in os.environ.items() if name.startswith(("FOURFOLD_", "PYTEST_"))}
    downloads = {name: value for name, value in _passed(DOWNLOAD).items() if name not in _PROXIES}
    return caches | downloads | named | for_load(empty)


def for_pip() -> dict[str, str]:
    """For ``pip install``, which gets only ``PIP_SETTINGS`` of the user's settings of pip.

    Raises:
        subprocess.CalledProcessError: pip can't read its settings; it has printed why.
    """
    # An option or a variable beats a file. --python: a file may name another Python.
    ask = [sys.executable, "-m", "pip", "--python", sys.executable, "config", "list"]
    loud = {"PIP_QUIET": "0", "PIP_VERBOSE": "0", "PIP_LOG": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    asked = {name: value for name, value in os.environ.items() if name.startswith("PIP_") and name != "PIP_PYTHON"}
    environment = _passed(EVERY) | asked | loud | {name: os.environ[name] for name in _XDG if name in os.environ}
    said = subprocess.run(ask, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return _passed(EVERY, DOWNLOAD) | pip_variables(said) | {"PIP_CONFIG_FILE": os.devnull, "PYTHONUTF8": "1"}


_XDG = ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS")
"""Where pip's files of settings are."""


def pip_variables(config_list: str) -> dict[str, str]:
    """The ``PIP_SETTINGS`` that ``pip config list`` prints, as variables. [install] beats [global], PIP_ beats both."""
    found: dict[tuple[str, str], str] = {}
    for line in config_list.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if key in PIP_SETTINGS and (text := str(ast.literal_eval(value)).strip()):
            found[section, key] = text
    return {
        f"PIP_{key.upper().replace('-', '_')}": found[section, key]
        for section in ("global", "install", ":env:")
        for key in PIP_SETTINGS
        if (section, key) in found
    }


def for_service_there() -> dict[str, str]:
    """For the service as a process of another machine: what this machine sets for the service alone."""
    return _passed(SERVICE) | {"PYTHONUTF8": "1"}


def passed_there() -> list[str]:
    """The variables of another machine that the service gets there; one that ends with ``*`` stands for several."""
    return [name for row in PASSED if row.to in (EVERY, DOWNLOAD) for name in row.names.split()]


def forget_dead_proxies() -> None:
    """Remove the variable of each proxy that accepts no connection, and warn about it.

    A variable may be left from another network. With it, set-up would fail, or the bundled model would be used although
    the real one can be downloaded.
    """
    alive: dict[tuple[str, int], bool] = {}
    for name in _PROXIES:
        text = os.environ.get(name)
        if not text:
            continue
        try:
            proxy = urlsplit(text if "//" in text else f"//{text}")
            address = (proxy.hostname or "", proxy.port or {"https": 443, "socks5": 1080}.get(proxy.scheme, 80))
        except ValueError:  # leave it to pip, Docker and the others to report that
            continue
        if address not in alive:
            alive[address] = _accepts(address)
            if not alive[address]:
                place = f"{address[0]}:{address[1]}"
                print(f"warning: the proxy {place} ({name}) does not answer; going on without it", file=sys.stderr)
        if not alive[address]:
            del os.environ[name]


def _accepts(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=PROXY_TIMEOUT_S):
            return True
    except OSError:
        return False


def settle() -> None:
    """Start Python again without the user's PYTHON* variables and in UTF-8 mode, if it was not started that way.

    Then see to it that no request to this machine's own addresses goes through a proxy, as to an engine at
    tcp://127.0.0.1. The docker command does the same.
    """
    python = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    settled = {"PYTHONUTF8": "1"}
    is_plain = not python and locale.getencoding().lower() == "utf-8"
    if not (sys.flags.ignore_environment or is_plain or python == settled):
        others = {name: value for name, value in os.environ.items() if name not in python}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], others | settled)  # noqa: S606  no shell
    forget_dead_proxies()
    never = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if never != "*":
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = f"{never},{NO_PROXY}".lstrip(",")


def _passed(*kinds: str) -> dict[str, str]:
    names = [name for row in PASSED if row.to in kinds for name in row.names.split()]
    prefixes = tuple(name.removesuffix("*") for name in names if name.endswith("*"))
    found = {name: value for name, value in os.environ.items() if name in names or name.startswith(prefixes)}
    if DOCKER not in kinds or not _engine:
        return found
    return {name: value for name, value in found.items() if name not in _NAMES_ENGINE} | _engine


def _docker_settings() -> dict[str, str]:
    """DOCKER_CONFIG, for a process whose HOME is not the user's."""
    try:
        return {"DOCKER_CONFIG": os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")}
    except RuntimeError:  # no home
        return {}
