"""Several replicas with Docker Compose, behind a reverse proxy that publishes the port: what people do without Swarm.

The proxy is nginx. It gives each request to the replica with the fewest open requests, also on connections that are
kept. The replicas are those of ``compose.py``, but for their port and their metrics file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import Any

from addresses import LOOPBACK
from infra.deployments.change import Changeable, change_container
from infra.deployments.compose import (
    answering_of,
    model_of,
    published,
    why_compose_uses_files_here,
    why_no_compose,
)
from infra.deployments.compose_project import Model, Project, without_variables
from infra.deployments.containers import (
    copy_metrics,
    last_words,
    limits_of,
    log_of,
    metrics_path,
    why_gone,
    why_nobody_reaches,
)
from infra.deployments.cpus import why_containers_not_pinned
from infra.deployments.deployment import Facts
from infra.deployments.docker_engine import Engine, connect
from infra.deployments.files_here import keep_metrics_there, metrics_in_container
from infra.deployments.images import find_image
from infra.deployments.preflight import why_no_image, why_no_room, why_no_service_image, why_port_is_taken
from infra.deployments.reach import published_at, why_out_of_reach
from infra.deployments.ready import until_ready
from infra.deployments.service import Service, live_folder
from infra.deployments.settings import Settings
from infra.errors import DeploymentError
from runfiles.deployments import COMPOSE_PROXY
from runfiles.events import COMPOSE_SERVICE
from servicefile.service_file import READY_PORT, READY_REQUEST, ServiceFile

PROJECT = Project("fourfold-bench-proxy", kind=COMPOSE_PROXY, down="compose-2")
PROXY = "fourfold-proxy"
"""The name of the proxy in the Compose file."""

METRICS_STEM = "compose_inference_metrics"
PROXY_PORT = 8080
"""Where the proxy listens in its container."""

NOBODY = "65534:65534"

# `zone`: the workers of nginx share their counts, so that all of them know which replica has the fewest requests.
# `max_fails=0`, `proxy_next_upstream off`: an error of a replica reaches the client, and is not hidden by a second try.
# `keepalive_timeout 1s`: a server such as gunicorn closes an idle connection after 2 s. The proxy must be the first to
# close it, or it would send a request just then.
NGINX = Template("""
daemon off;
worker_processes auto;
pid /tmp/nginx.pid;
error_log stderr;
events { worker_connections 4096; }
http {
  access_log off;
  client_max_body_size 0;
  client_body_temp_path /tmp/client_body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  keepalive_requests 1000000000;
  upstream replicas {
    zone replicas 256k;
    least_conn;
    server $service:$port max_fails=0;
    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_timeout 1s;
  }
  server {
    listen $listens_at;
    location / {
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $$http_host;
      proxy_next_upstream off;
      proxy_read_timeout 1h;
    }
  }
}
""")
# The kernel takes the name of the link for that of the program. So locustfiles/_machine.py can tell its CPU time from
# that of any other nginx on the machine.
START = (
    'printf "%s" "$PROXY_CONFIG" >/tmp/nginx.conf && ln -s "$(command -v nginx)" /tmp/fourfold-proxy && '
    "exec /tmp/fourfold-proxy -e stderr -c /tmp/nginx.conf"
)


@dataclass(frozen=True)
class ComposeProxy:
    """The Compose project of so many replicas of the service that answers, and the proxy before them."""

    facts: Facts

    def why_not(self, settings: Settings) -> str | None:
        engine = connect()
        return (
            why_no_service_image(settings)
            or PROJECT.why_another_has_it(engine)
            or PROJECT.why_still_there(engine)
            or why_no_compose(engine)
            or why_out_of_reach(self.facts, settings, engine)
            or why_compose_uses_files_here(PROJECT, settings, self.facts.port(settings), engine)
            or why_no_proxy_image(engine, settings.service)
            or why_containers_not_pinned(settings.service_cpus, engine)
            or why_no_room(self.facts, engine)
            or why_port_is_taken([published_at(engine, self.facts, settings)], self.facts.port(settings), engine)
        )

    def start(self, settings: Settings, folder: Path) -> Service:
        engine, service = connect(), settings.service
        answering, replicas = answering_of(service), self.facts.replicas
        metrics_folder = live_folder(folder)
        at = published_at(engine, self.facts, settings)
        model = proxied_model(settings, replicas, self.facts.port(settings), metrics_folder, at)
        if engine.is_remote:
            keep_metrics_there(model, answering, service, metrics_folder.resolve())
        PROJECT.up(model)

        def evidence() -> str:
            found = PROJECT.containers(engine, answering)
            if reason := _why_gone([*found, *PROJECT.containers(engine, PROXY)]):
                raise DeploymentError(reason)
            run = sum(container.status == "running" for container in found)
            return f"{run} of {replicas} replicas run; the last line of one was: {_last_words(found)}"

        def why_not_reached() -> str | None:
            found = PROJECT.containers(engine, answering)
            return next((reason for each in found if (reason := why_nobody_reaches(each, service.port))), None)

        # The proxy's own port is open from the start, so a replica that is ready is known by its answer.
        asked = replace(service, ready=READY_REQUEST) if service.ready == READY_PORT else service
        url = self.facts.url(settings)
        # While nobody else asks, the replicas get the requests in turn. So as many answers in a row come from all.
        until_ready(url, asked, settings.start_timeout_s, evidence, why_not_reached, in_a_row=replicas)
        _forget_metrics_file(service, metrics_folder)
        running = sorted(PROJECT.containers(engine, answering), key=lambda container: str(container.name))
        everybody = [*running, *PROJECT.containers(engine, PROXY)]
        return Service(
            f"{COMPOSE_SERVICE}:{PROJECT.name}/{answering}",
            lambda to: _copy_metrics(service, running, to),
            _metrics_place(running[0], service),
            limits_of(running[0]),
            gone=lambda: _why_gone(everybody),
            last_words=lambda: _last_words(running),
            change=lambda change: change_container(change, running),
        )

    def log(self, folder: Path) -> str:
        return log_of(PROJECT.containers(connect()))

    def running(self, settings: Settings) -> Changeable | None:
        return PROJECT.running(connect(), answering_of(settings.service))

    def remove(self, settings: Settings) -> list[str]:
        return PROJECT.remove()

    def why_another_has_it(self) -> str | None:
        return PROJECT.why_another_has_it(connect())


def why_no_proxy_image(engine: Engine, service: ServiceFile) -> str | None:
    """Why the proxy's image is not on the engine, and can't be pulled. None if it is there, or can be had."""
    reason = why_no_image(engine, service.proxy_image, None)
    return reason and f"{reason}; or name another image of nginx (proxy_image in the service file)"


def have_proxy_image(service: ServiceFile) -> None:
    """Have the proxy's image on the engine.

    Raises:
        DeploymentError: it is not there, and can't be pulled.
    """
    find_image(connect(), service.proxy_image, is_built=False)


def proxied_model(settings: Settings, replicas: int, port: int, metrics_folder: Path, at: str = LOOPBACK) -> Model:
    """What Compose is to start: so many replicas of the service that answers, and the proxy that publishes ``port``
    ``at`` an IP address.

    Raises:
        DeploymentError: as ``model_of``.
    """
    model = model_of(PROJECT, settings, port, metrics_folder)
    answering = model["services"][answering_of(settings.service)]
    _multiply(answering, settings.service, replicas, metrics_folder.resolve())
    networks = dict.fromkeys(answering.get("networks") or ["default"])
    model["services"][PROXY] = _proxy(settings, port, at) | {"networks": networks}
    return model


def _multiply(answering: Model, service: ServiceFile, replicas: int, metrics_folder: Path) -> None:
    """Make so many replicas of the service that answers. A name, and a metrics file on this machine, can't be shared:
    each replica has its own, the file in its container."""
    answering.pop("scale", None)
    answering.pop("hostname", None)
    answering.setdefault("deploy", {})["replicas"] = replicas
    metrics_in_container(answering, service, metrics_folder)


def _proxy(settings: Settings, port: int, at: str) -> Model:
    """The proxy in the Compose file. nginx looks the replicas' addresses up when it starts, so they start first."""
    service = settings.service
    answering = answering_of(service)
    said = NGINX.substitute(service=answering, port=service.port, listens_at=PROXY_PORT)
    pinned = {} if settings.service_cpus is None else {"cpuset": settings.service_cpus}
    proxy: Model = without_variables(
        {
            "image": service.proxy_image,
            "entrypoint": ["sh", "-c", START],
            "environment": {"PROXY_CONFIG": said},
            "depends_on": {answering: {"condition": "service_started"}},
            "user": NOBODY,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            "read_only": True,
            "tmpfs": ["/tmp"],  # noqa: S108  in the container
            "init": True,
            **pinned,
        }
    )
    return proxy | {"ports": [published(port, PROXY_PORT, at)]}


def _metrics_place(replica: Any, service: ServiceFile) -> str | None:
    if service.metrics.variable is None:
        return None
    return f"in each replica's container; copy one with docker cp {replica.name}:{metrics_path(replica, service)} ."


def _forget_metrics_file(service: ServiceFile, metrics_folder: Path) -> None:
    """Remove the empty metrics file that the user's file has made for a single container, and its folder if nothing
    else is in it. Each replica has a file of its own, in its container."""
    made = service.compose and service.compose.metrics_file and metrics_folder / service.compose.metrics_file
    if made and made.is_file() and made.stat().st_size == 0:
        made.unlink()
    if metrics_folder.is_dir() and not any(metrics_folder.iterdir()):
        metrics_folder.rmdir()


def _copy_metrics(service: ServiceFile, replicas: Sequence[Any], to: Path) -> list[Path]:
    files: list[Path] = []
    for container in replicas:
        files += copy_metrics(container, service, to / f"{METRICS_STEM}.{container.name}.csv")
    return sorted(files)


def _why_gone(containers: Sequence[Any]) -> str | None:
    """Why one of the containers no longer runs. None as long as all do."""
    return next((reason for each in containers if (reason := why_gone(each))), None)


def _last_words(containers: Sequence[Any]) -> str:
    """The last line of the first of them; of one that has ended, if there is one."""
    ended = [container for container in containers if container.status != "running"]
    return last_words((ended or containers)[0]) if containers else "(there is none)"
