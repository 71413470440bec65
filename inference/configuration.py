"""The environment variables that set up the service. No other module of this folder reads the environment.

``VARIABLES`` is the whole list. ``python -m inference --help`` prints it, and a test compares docs/service.md with it.
Variables that libraries read themselves, such as ``HF_HUB_OFFLINE``, are not on it.
"""

from __future__ import annotations

import os
import socket
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

AUTO = "auto"
ENGINES = (AUTO, "onnx", "torch")
DEVICES = (AUTO, "cpu", "cuda")

LONGEST_NUMBER = 9
"""Digits of a number here. Python refuses to read more than 4,300 digits, with a message that names no variable."""

EXPECTED_HOST = "expected an address or a name of this machine, or 0.0.0.0 for all its addresses"

HELP_WIDTH = 80

T = TypeVar("T")


class WrongValue(ValueError):
    """A variable has a value that the service can't use. The message names variable, value and what is expected."""


@dataclass(frozen=True)
class Variable(Generic[T]):
    """An environment variable of the service.

    ``default`` applies if the variable is not set or empty. ``default_meaning`` is what documentation prints for a
    default that is computed. ``parse`` turns the text into the value, or raises a ValueError whose message continues
    the sentence "NAME=text ...".
    """

    name: str
    default: str
    meaning: str
    parse: Callable[[str], T]
    default_meaning: str = ""

    @property
    def documented_default(self) -> str:
        return self.default_meaning or self.default

    def read(self) -> T:
        """The value that the environment gives.

        Raises:
            WrongValue: the service can't use it.
        """
        text = os.environ.get(self.name) or self.default
        try:
            return self.parse(text)
        except ValueError as error:
            shown = text if text.isprintable() else repr(text)
            raise WrongValue(f"{self.name}={shown} {error}") from None


def _host(text: str) -> str:
    host = text.strip("[]")
    try:
        socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ValueError(f"is not an address ({error.strerror}); {EXPECTED_HOST}") from None
    except UnicodeError as error:  # for example a name of more than 63 characters without a dot
        raise ValueError(f"is not an address ({error}); {EXPECTED_HOST}") from None
    return host


def _port(text: str) -> int:
    if not 0 < _number(text) < 65536:
        raise ValueError("is not a port; expected a number from 1 to 65535")
    return int(text)


def _queue_limit(text: str) -> int:
    if _number(text) < 1:
        most = 10**LONGEST_NUMBER - 1
        raise ValueError(f"is not a number of texts that may wait; expected a number from 1 to {most}")
    return int(text)


def _number(text: str) -> int:
    """The number; -1 if the text is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER else -1


def _replica_name(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError("goes into a header; expected printable ASCII characters")
    return text


def _choice_of(known: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in known:
            raise ValueError(f"is none of {', '.join(known)}")
        return text

    return parse


def _cache_folder(text: str) -> Path | None:
    """The folder; None if the user has no home directory."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return None


HOST = Variable(
    "HOST",
    "0.0.0.0",  # noqa: S104  a container is reached from outside itself
    "the address to listen on, 0.0.0.0 for all; an IPv6 address may have brackets",
    _host,
)
PORT = Variable("PORT", "5000", "the port to listen on", _port)
INFERENCE_MODEL = Variable(
    "INFERENCE_MODEL",
    AUTO,
    "the name of a model at the Hugging Face hub, a folder, or auto: the default model, or the bundled one if the "
    "default model can't be downloaded",
    str,
)
INFERENCE_ENGINE = Variable(
    "INFERENCE_ENGINE",
    AUTO,
    "the inference engine: onnx, torch, or auto: onnx if it can run the model and its answers agree with those of "
    "torch; on a GPU always torch",
    _choice_of(ENGINES),
)
INFERENCE_DEVICE = Variable(
    "INFERENCE_DEVICE",
    AUTO,
    "cpu, cuda, or auto: a GPU if there is one and torch can use it, else the CPU; only torch computes on a GPU",
    _choice_of(DEVICES),
)
INFERENCE_QUEUE = Variable(
    "INFERENCE_QUEUE", "256", "how many texts may wait for the model; any more are refused with 503", _queue_limit
)
METRICS_LOG_FILE = Variable(
    "METRICS_LOG_FILE",
    "system_inference_metrics.csv",
    "the CSV file that gets one row for each answered request; the rows that it already has stay",
    Path,
)
REPLICA_NAME = Variable(
    "REPLICA_NAME",
    socket.gethostname(),  # in a container the first 12 digits of its ID
    "the name of this replica in X-Replica and in answers",
    _replica_name,
    default_meaning="the host name",
)
XDG_CACHE_HOME = Variable(
    "XDG_CACHE_HOME",
    "~/.cache",
    "the cache folder; exported models are in its subfolder fourfold/engines",
    _cache_folder,
)

VARIABLES: tuple[Variable[Any], ...] = (
    HOST,
    PORT,
    INFERENCE_MODEL,
    INFERENCE_ENGINE,
    INFERENCE_DEVICE,
    INFERENCE_QUEUE,
    METRICS_LOG_FILE,
    REPLICA_NAME,
    XDG_CACHE_HOME,
)


@dataclass(frozen=True)
class Configuration:
    """What the environment asks of ``python -m inference``."""

    host: str
    port: int
    model: str
    engine: str
    device: str
    queue_limit: int
    metrics_file: Path
    replica: str


def read_configuration() -> Configuration:
    """The configuration, all variables checked.

    Raises:
        WrongValue: the service can't use the value of a variable.
    """
    return Configuration(
        host=HOST.read(),
        port=PORT.read(),
        model=INFERENCE_MODEL.read(),
        engine=INFERENCE_ENGINE.read(),
        device=INFERENCE_DEVICE.read(),
        queue_limit=INFERENCE_QUEUE.read(),
        metrics_file=METRICS_LOG_FILE.read(),
        replica=REPLICA_NAME.read(),
    )


def help_text(variables: Iterable[Variable[Any]] = VARIABLES) -> str:
    """The variables with meaning and default, for a command's ``--help``."""
    lines = ["environment variables:"]
    for variable in variables:
        meaning = f"{variable.meaning} (default: {variable.documented_default})"
        lines += textwrap.wrap(meaning, HELP_WIDTH, initial_indent=f"  {variable.name:<18}", subsequent_indent=" " * 20)
    return "\n".join(lines)
