"""The service file: a TOML file that says which service is measured.

``SERVICE`` is that of Fourfold's own service, and the default. Each key has a default that fits a Flask app with a
Dockerfile, so a file of three lines is enough (docs/own-service.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from servicefile import checks, toml
from servicefile.toml import NotValid, number, or_none, text, whole, yes_or_no

ROOT = Path(__file__).resolve().parents[1]
SERVICE = ROOT / "inference" / "service.toml"
TEXTS = ROOT / "texts" / "reviews.csv"

READY_REQUEST, READY_PORT = "request", "port"
"""``ready`` is one of these, or a path."""

ME = "me"
"""``user`` of a container: the user who measures, or 1000:1000 in place of root."""

PORT_PLACE = "{port}"
"""In a command: the port of the host process."""

MOST_READY_S = 24 * 3600.0

_IMAGE_NAME = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Request:
    """What the service is asked with each text.

    ``path`` (with a query) and ``body`` may hold ``$NAME``, which stands for the field NAME of the text, and ``$$`` for
    a dollar. A ``body`` that is a table becomes JSON; GET has none. ``status``: the answer's; None: any of
    200 to 299. ``answer_has``: a regular expression that matches somewhere in the body of each answer.
    """

    method: str = "POST"
    path: str = "/infer"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    body: Any = field(default_factory=lambda: {"text": "$text"})
    texts: Path = TEXTS
    status: int | None = None
    answer_has: str | None = None

    @property
    def name(self) -> str:
        """The path without its query, as Locust's statistics call the request."""
        return self.path.partition("?")[0]


@dataclass(frozen=True)
class Metrics:
    """The CSV file that the service itself writes. ``variable`` tells it the name; None: it writes none.

    ``folder`` is where the file lies in a container if its name has no folder; None: in the image's working folder.
    """

    variable: str | None = "METRICS_LOG_FILE"
    folder: str | None = None


@dataclass(frozen=True)
class Container:
    """How each container runs.

    ``user`` None: that of the image. ``hardened``: without capabilities and new privileges. ``read_only``: a root that
    can't be written to, with a /tmp in memory, and a volume over each folder of ``writable``. ``mounts``: FOLDER:PATH,
    with ``:ro`` behind it if the service only reads there. ``healthcheck``: a command; None: that of the image.
    """

    user: str | None = None
    hardened: bool = False
    read_only: bool = False
    writable: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    healthcheck: tuple[str, ...] | None = None
    stop_s: int = 10


@dataclass(frozen=True)
class ComposeFile:
    """The user's own Compose file, which is measured as it is. ``service`` is the one that answers.

    ``environment``: the variables that Compose puts into the file. In their values ``$image``, ``$port``, ``$user``,
    ``$cpus``, ``$memory_bytes`` and ``$metrics_folder`` stand for those of the experiment. ``metrics_file`` is the name
    of the metrics file that the service leaves in that folder.
    """

    file: Path
    service: str
    environment: Mapping[str, str] = field(default_factory=dict)
    metrics_file: str | None = None


@dataclass(frozen=True)
class StackFile:
    """The user's own stack file for Swarm, which is measured as it is. ``service`` is the one that answers.

    ``environment``: the variables that Docker puts into the file. In their values ``$image``, ``$port``, ``$user``,
    ``$cpus``, ``$memory_bytes`` and ``$replicas`` stand for those of the experiment.
    """

    file: Path
    service: str
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ServiceFile:
    """A service, and how each deployment starts it. ``path`` is the file that said so.

    ``build``: the folder of its Dockerfile; ``image``: the name of what is built from it, or of an image that is there
    or can be pulled. ``command``: how the host process is started, in ``folder``; a first word ``python`` is the Python
    that has ``requirements`` installed, or ``python``, or Fourfold's own; a program beside that Python is taken from
    there. None: there is no such deployment.

    ``port`` is where the service listens in a container. As a host process it gets its port by ``port_variable``, or by
    ``{port}`` in the command, and its address by ``address_variable``. ``replica_variable`` tells it its name, and its
    answers tell that name in the header ``replica_header``.

    ``ready``: "request", "port" or a path that is answered with ``ready_status`` then; ``ready_s``: after how many
    seconds it counts as not started.

    ``proxy_image``: an image of nginx, for several replicas that Compose runs behind a proxy.

    ``model``: a command that gets the model before anything is timed. It prints the model's name, source and sha256 as
    JSON, and puts the model into the folder that is its argument, if there is one; the build gets that as its context
    ``model``.
    """

    path: Path
    name: str
    image: str | None = None
    build: Path | None = None
    command: tuple[str, ...] | None = None
    folder: Path = Path()
    python: Path | None = None
    requirements: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 5000
    port_variable: str | None = None
    address_variable: str | None = None
    replica_variable: str | None = None
    replica_header: str = "X-Replica"
    ready: str = READY_REQUEST
    ready_status: int = 200
    ready_s: float = 180.0
    proxy_image: str = "nginx:1.28-alpine"
    model: tuple[str, ...] | None = None
    request: Request = field(default_factory=Request)
    metrics: Metrics = field(default_factory=Metrics)
    container: Container = field(default_factory=Container)
    compose: ComposeFile | None = None
    stack: StackFile | None = None

    @property
    def takes_port(self) -> bool:
        """Whether a service on this machine's own network can be told its port."""
        return self.port_variable is not None or any(PORT_PLACE in word for word in self.command or ())

    def told(self, address: str, port: int, replica: str) -> dict[str, str]:
        """The variables that tell a service on this machine's own network where to listen, and its name."""
        told = {self.address_variable: address, self.port_variable: str(port), self.replica_variable: replica}
        return {name: value for name, value in told.items() if name is not None}


def read_service(path: Path = SERVICE) -> ServiceFile:
    """The service that a file describes.

    Raises:
        NotValid: the file can't be read, or a key or value in it is not one.
    """
    table = toml.read(path, "service file", "inference/service.toml")
    base = path.resolve().parent
    tables = {name: table.pop(name) for name in _TABLES if name in table}
    values = _checked(table, _checks(base), ServiceFile, str(path), "a service file")
    for name, content in tables.items():
        values[name] = _table(name, content, base, path)
    values.setdefault("folder", base)
    values.setdefault("name", base.name)
    service = ServiceFile(path=path.resolve(), **values)
    return _consistent(service, str(path))


def _consistent(service: ServiceFile, where: str) -> ServiceFile:
    """The service, with the image's name.

    Raises:
        NotValid: its values can't be true together.
    """
    if service.image is None and service.build is None and service.command is None:
        raise NotValid(
            f'{where} says of no deployment how it is started; add build = "." for a folder with a Dockerfile, '
            'image = "NAME" for an image, or command = "python app.py" for the host process'
        )
    if service.python is not None and service.requirements is not None:
        raise NotValid(f"{where}: python and requirements are both there; leave one of them out")
    if service.image is None and service.build is not None:
        name = _IMAGE_NAME.sub("-", service.name.lower()).strip("-") or "service"
        return replace(service, image=f"fourfold-{name}")
    return service


def _table(name: str, content: Any, base: Path, path: Path) -> Any:
    """One of the tables of a service file."""
    if not isinstance(content, dict):
        raise NotValid(f"{path}: {name} = {toml.shown(content)} is not a table, such as [{name}]")
    made, checks_of = _TABLES[name]
    values = _checked(content, checks_of(base), made, f"{path}, [{name}]", f"[{name}]")
    lacking = [
        each.name
        for each in fields(made)
        if each.default is MISSING and each.default_factory is MISSING and each.name not in values
    ]
    if lacking:
        raise NotValid(f"{path}, [{name}]: {lacking[0]} is missing")
    return made(**values)


def _checked(table: Mapping[str, Any], by_key: Mapping[str, toml.Check], made: Any, where: str, has: str) -> Any:
    return toml.checked(table, by_key, where, has, partial(_default, made))


def _default(made: Any, key: str) -> Any:
    found = next(each for each in fields(made) if each.name == key)
    default = found.default if found.default_factory is MISSING else found.default_factory()
    return None if default is MISSING else default


def _checks(base: Path) -> dict[str, toml.Check]:
    return {
        "name": text("a name"),
        "image": text("the name of an image, such as you/llm-inference-image"),
        "build": partial(checks.folder, base, "Dockerfile"),
        "command": checks.command,
        "folder": partial(checks.folder, base, None),
        "python": partial(checks.python, base),
        "requirements": partial(checks.file, base, "a requirements file"),
        "environment": checks.environment,
        "port": whole(1, 65535),
        "port_variable": checks.variable,
        "address_variable": checks.variable,
        "replica_variable": checks.variable,
        "replica_header": checks.header_name,
        "ready": _ready,
        "ready_status": whole(100, 599),
        "ready_s": number("a number of seconds", 0.1, MOST_READY_S),
        "proxy_image": text("the name of an image of nginx, such as nginx:1.28-alpine"),
        "model": checks.command,
    }


def _request_checks(base: Path) -> dict[str, toml.Check]:
    return {
        "method": checks.method,
        "path": checks.path,
        "headers": checks.headers,
        "body": checks.body,
        "texts": partial(checks.file, base, "a file of texts (CSV with a header, or JSON lines)"),
        "status": or_none(whole(100, 599)),
        "answer_has": checks.expression,
    }


def _metrics_checks(_: Path) -> dict[str, toml.Check]:
    return {"variable": checks.variable_or_none, "folder": checks.path_in_container}


def _container_checks(base: Path) -> dict[str, toml.Check]:
    return {
        "user": text('a user, such as "1000:1000", or "me"'),
        "hardened": yes_or_no,
        "read_only": yes_or_no,
        "writable": checks.list_of(checks.path_in_container, "a list of folders in the container"),
        "mounts": checks.list_of(partial(checks.mount, base), "a list of mounts, such as FOLDER:/data:ro"),
        "healthcheck": checks.command,
        "stop_s": whole(1, 600),
    }


def _compose_checks(base: Path) -> dict[str, toml.Check]:
    return {
        "file": partial(checks.file, base, "a Compose file"),
        "service": text("the name of a service in the Compose file"),
        "environment": checks.environment,
        "metrics_file": text("the name of a file"),
    }


def _stack_checks(base: Path) -> dict[str, toml.Check]:
    return {
        "file": partial(checks.file, base, "a stack file"),
        "service": text("the name of a service in the stack file"),
        "environment": checks.environment,
    }


_TABLES: Mapping[str, tuple[Any, Any]] = {
    "request": (Request, _request_checks),
    "metrics": (Metrics, _metrics_checks),
    "container": (Container, _container_checks),
    "compose": (ComposeFile, _compose_checks),
    "stack": (StackFile, _stack_checks),
}
"""The tables of a service file: what each becomes, and the checks of its keys."""


def _ready(value: Any) -> str:
    if value in (READY_REQUEST, READY_PORT):
        return str(value)
    try:
        return checks.path(value)
    except ValueError:
        raise ValueError('"request" (the first request is answered), "port" (it is open) or a path') from None
