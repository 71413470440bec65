"""A Docker engine beside the machine's own, to be halted, killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from infra.deployments.docker_engine import Engine
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError

PROJECT, SERVICE = "fourfold-unbroken", "web"
"""The Compose service that its containers are replicas of."""

BRIDGE, BRIDGE_ADDRESS = "fourfold-test0", "10.253.253.1/24"
"""A bridge of its own: an engine without any would take away that of the machine's engine."""

NEEDS = ("dockerd", "ip", "setpriv", "unshare")


class OwnEngine:
    """Its containers live on when it ends."""

    def __init__(self, folder: Path) -> None:
        self.door = folder / "door"
        self.door.mkdir()
        self.url = f"unix://{self.door}/docker.sock"
        own_settings = folder / "daemon.json"  # those of the machine's engine are not for this one
        own_settings.write_text("{}")
        places = {
            "--data-root": folder / "data",
            "--exec-root": folder / "exec",
            "--pidfile": folder / "dockerd.pid",
            "--config-file": own_settings,
        }
        self._command = ["dockerd", "--host", self.url, "--live-restore", f"--bridge={BRIDGE}"]
        self._command += ["--iptables=false", "--ip6tables=false", "--ip-forward=false"]
        self._command += ["--containerd-namespace", folder.name]
        self._command += [str(part) for option in places.items() for part in option]
        self._log = (folder / "dockerd.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the engine was not started")
        return self._process

    def begin(self) -> None:
        for change in ("link add {} type bridge", f"address add {BRIDGE_ADDRESS} dev {{}}", "link set {} up"):
            subprocess.run(["ip", *change.format(BRIDGE).split()], check=True)
        self.start()

    def start(self) -> None:
        """
        Raises:
            DeploymentError: it does not answer within 60 s.
        """
        self._process = subprocess.Popen(
            self._command, stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )
        if not until_true(lambda: self.docker("info", check=False).returncode == 0, 60):
            raise DeploymentError(f"the engine at {self.url} does not answer after 60 s")

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.tell(number)
        self.process.wait(60)

    def close(self) -> None:
        """Remove all that was made, also where it did not begin well."""
        if self._process is not None:
            self.tell(signal.SIGCONT)
            ids = self.docker("ps", "--all", "--quiet", check=False).stdout.split()
            if ids:
                self.docker("rm", "--force", "--volumes", *ids)
            self.end()
        self._log.close()
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False)

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"DOCKER_HOST": self.url}
        return subprocess.run(["docker", *arguments], env=environment, capture_output=True, text=True, check=check)

    def replica(
        self,
        number: int,
        image: str,
        *command: str,
        options: tuple[str, ...] = ("--network=host",),
        variables: tuple[str, ...] = (),
    ) -> None:
        """Start one more replica of the Compose service."""
        labels = {"project": PROJECT, "service": SERVICE, "oneoff": "False", "container-number": str(number)}
        told = [f"--label=com.docker.compose.{key}={value}" for key, value in labels.items()]
        told += [f"--env={variable}" for variable in variables]
        self.docker("run", "--detach", "--init", f"--name={SERVICE}-{number}", *options, *told, image, *command)


def why_no_own_engine(engine: Engine) -> str | None:
    """What an engine beside the machine's own lacks here."""
    if engine.is_remote:
        return f"the Docker engine is at {engine.endpoint}; run this on the engine's own machine"
    if os.geteuid() != 0:
        return "a second Docker engine needs root; run this as root"
    lacking = [name for name in NEEDS if shutil.which(name) is None]
    return f"a second Docker engine needs {', '.join(lacking)}; install it" if lacking else None


@contextmanager
def running_engine(image: str, *, keep_log_in: Path | None = None) -> Iterator[OwnEngine]:
    """An engine that has this image of the machine's own engine. It ends with the block, and leaves nothing but its log
    in a folder of the caller's."""
    # Short, since the path of a socket may have but 108 characters.
    folder = Path("/run") / f"fourfold-{os.getpid()}"
    folder.mkdir()
    own = OwnEngine(folder)
    try:
        own.begin()
        with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save:
            subprocess.run(["docker", "--host", own.url, "load"], stdin=save.stdout, check=True, capture_output=True)
        yield own
    finally:
        os.chown(own.door, 0, 0)
        own.close()
        if keep_log_in is not None:
            shutil.copy(folder / "dockerd.log", keep_log_in)
        for mounted in [disk.mountpoint for disk in psutil.disk_partitions(all=True)]:
            if mounted.startswith(f"{folder}/"):  # an engine leaves the mounts of its network behind
                subprocess.run(["umount", mounted], check=True)
        shutil.rmtree(folder)
