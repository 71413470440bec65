"""The Protocol ``Deployment``: what each deployment knows and can do.

``table.py`` lists them all; CONTRIBUTING.md says how to add one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import addresses
from infra.deployments.change import Changeable
from infra.deployments.service import Service
from infra.deployments.settings import Settings
from runfiles.deployments import DEPLOYMENTS


@dataclass(frozen=True)
class Facts:
    """What is known of a deployment before it runs.

    ``default_port`` is where it listens unless ``--port`` names another port. A deployment that ``needs_engine`` runs
    the service's image on a Docker engine. One that ``publishes`` its port has a network of its own.
    """

    name: str
    default_port: int
    needs_engine: bool = True
    publishes: bool = True

    @property
    def kind(self) -> str:
        """What ``--port`` and ``--reach`` call it."""
        return DEPLOYMENTS[self.name].kind

    @property
    def title(self) -> str:
        return DEPLOYMENTS[self.name].title

    @property
    def replicas(self) -> int:
        return DEPLOYMENTS[self.name].replicas

    def port(self, settings: Settings) -> int:
        """The TCP port that the deployment takes. A service that listens on this machine's network, and can't be told
        its port, has its own."""
        service = settings.service
        is_told = service.port_variable is not None if self.needs_engine else service.takes_port
        if not self.publishes and not is_told:
            return service.port
        return settings.ports.get(self.kind, self.default_port)

    def url(self, settings: Settings) -> str:
        """The base URL at which the deployment answers. 127.0.0.1 rather than localhost: Swarm's ingress hangs on ::1.

        Raises:
            addresses.NotAnAddress: ``--reach`` names no address.
        """
        port = settings.tunnels.get(self.kind) or self.port(settings)
        return addresses.parse(settings.reach.get(self.kind, f"127.0.0.1:{port}")).url


class Deployment(Protocol):
    """One way to run the service.

    Each method may raise ``DeploymentError``, one of ``API_FAILURES`` if the Docker engine fails, or ``OSError``.
    """

    @property
    def facts(self) -> Facts: ...

    def why_not(self, settings: Settings) -> str | None:
        """Why it can't run here, with the remedy. None if nothing is known to prevent it."""

    def start(self, settings: Settings, folder: Path) -> Service:
        """Start the service and wait until it is ready. ``folder`` gets its log, if it writes one on this machine.

        If this fails, what was started by then is still there, and ``remove`` removes it.
        """

    def log(self, folder: Path) -> str:
        """The end of what it has written since ``start``, whose folder this is; empty if it wrote nothing."""

    def running(self, settings: Settings) -> Changeable | None:
        """What ``start`` of this checkout made, also in another process, and what of it can be changed now. None if
        nothing of it is there."""

    def remove(self, settings: Settings) -> list[str]:
        """Remove what ``start`` made, also in an earlier run that was killed, and nothing else. Returns what it was."""

    def why_another_has_it(self) -> str | None:
        """Which other checkout has what ``remove`` would remove if it were this checkout's. None if none has."""
