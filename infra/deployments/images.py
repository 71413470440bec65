"""The image that the container deployments run: how it is built or pulled."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import docker

from infra.build import build_options
from infra.deployments.docker_engine import Engine, why_docker_fails
from infra.deployments.own_python import command_of, python_of
from infra.deployments.preflight import why_no_image, why_no_service_image
from infra.deployments.settings import Settings
from infra.environment import for_build, for_service
from infra.errors import DeploymentError, ImageError
from infra.last_words import last_build_error, tail
from runfiles.places import BENCH
from runfiles.records import Image
from servicefile.service_file import SERVICE, ServiceFile

PYTHON_VERSION = "PYTHON_VERSION="
"""A variable of the official images of Python, and of those that are built on them."""


def have_image(
    engine: Engine,
    settings: Settings,
    log: Path,
    show: Callable[[str], None],
    *,
    is_built: bool,
    is_with_host: bool = False,
) -> Image:
    """The service's image, which is on the engine then. It is built if ``is_built``, or pulled if it is not there.

    ``log`` gets what the build prints, and ``show`` each line of it. ``is_with_host``: it is compared with the host
    process.

    Raises:
        ImageError: the service file names an image or a build that can't be had.
        DeploymentError: the service file names neither, or this machine can't build.
        OSError or one of API_FAILURES: the log can't be written, or the engine fails.
    """
    if reason := why_no_service_image(settings):
        raise DeploymentError(reason)
    if is_built:
        build_image(settings.service, log, show, is_with_host=is_with_host)
    return find_image(engine, str(settings.image), is_built=is_built)


def is_model_of_host(service: ServiceFile, *, is_with_host: bool) -> bool:
    """Whether the image gets the model that this machine's Python serves, and not the one that its Dockerfile fetches:
    if INFERENCE_MODEL names one, and if the host process can serve the bundled one only, for lack of torch. So
    containers and host process run the same model."""
    return service.model is not None and (is_model_named() or (is_with_host and serves_only_bundled(service)))


def is_model_named() -> bool:
    return os.environ.get("INFERENCE_MODEL", "auto") != "auto"


def serves_only_bundled(service: ServiceFile) -> bool:
    """Whether the host process of Fourfold's own service can't export a model here."""
    return service.path == SERVICE and find_spec("torch") is None


def build_image(service: ServiceFile, log: Path, show: Callable[[str], None], *, is_with_host: bool = False) -> None:
    """Build the service's Dockerfile with the docker command. ``show`` gets each line that it prints.

    Raises:
        ImageError: the build failed.
        DeploymentError: there is no docker command, or it does not work.
    """
    if shutil.which("docker") is None:
        raise DeploymentError("the image can't be built without a docker command on the PATH; install it and run again")
    if reason := why_docker_fails("version"):
        raise DeploymentError(f"the image can't be built, as docker version fails ({reason}); check that and run again")
    with tempfile.TemporaryDirectory(prefix="fourfold-") as context, build_options() as options:
        model = []
        if is_model_of_host(service, is_with_host=is_with_host):
            said = fetch_model(service, Path(context, "model"), is_quiet=not is_model_named())
            target = said["build_target"]
            model = ["--build-context", f"model={context}", *(["--target", target] if target else [])]
        command = ["docker", "build", "--progress", "plain", "--tag", str(service.image), *options, *model]
        command.append(str(service.build))
        if not _succeeds(command, log, show):
            raise ImageError(f"the image could not be built: {last_build_error(tail(log))}; all of it is in {log}")


def fetch_model(service: ServiceFile, folder: Path | None = None, *, is_quiet: bool = False) -> dict[str, Any]:
    """What the service's own command says of its model, after it got it.

    Args:
        service: it has such a command.
        folder: where the model's files are to be put; None: nowhere.
        is_quiet: its warnings have been shown before.

    Raises:
        DeploymentError: the command failed.
    """
    command = [*command_of(service.model or (), python_of(service)), *([str(folder)] if folder else [])]
    fetched = subprocess.run(
        command,
        cwd=service.folder,
        env=for_service(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if is_quiet else None,
        text=True,
        check=False,
    )
    if fetched.returncode != 0:
        raise DeploymentError("there is no model to serve; the reason is above")
    said: dict[str, Any] = json.loads(fetched.stdout.splitlines()[-1])
    return said


def find_image(engine: Engine, image: str, *, is_built: bool) -> Image:
    """What is known of the image. It is pulled if the engine does not have it.

    ``is_built``: it is the one that the service's Dockerfile makes, so no registry has it.

    Raises:
        ImageError: the engine has no such image, and can't get it.
    """
    try:
        found = engine.client.images.get(image)
    except docker.errors.NotFound:
        if is_built:
            raise ImageError(f"the engine has no image {image} yet; build it ({BENCH} does) and run again") from None
        if reason := why_no_image(engine, image, None):
            raise ImageError(reason) from None
        try:
            found = engine.client.images.pull(with_tag(image))
        except docker.errors.APIError as error:
            reason = error.explanation or error
            raise ImageError(f"image {image} could not be pulled: {reason}; try docker pull {image}") from error
    except docker.errors.APIError as error:
        raise ImageError(f"the engine does not take {image} for an image's name: {error.explanation}") from error
    digests = tuple(found.attrs.get("RepoDigests") or ())
    variables = (found.attrs.get("Config") or {}).get("Env") or ()
    python = next((said.partition("=")[2] for said in variables if said.startswith(PYTHON_VERSION)), None)
    return Image(name=image, id=found.id, digests=digests, bytes=found.attrs["Size"], python=python or None)


def with_tag(image: str) -> str:
    """The image's name with its tag; ``latest`` if it names none."""
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


def _succeeds(command: list[str], log: Path, show: Callable[[str], None]) -> bool:
    log.unlink(missing_ok=True)  # an earlier build's log; or a link, which must not be written through
    with (
        log.open("x", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            env=for_build(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        for line in process.stdout or ():
            file.write(line)
            if line.strip():
                show(line.strip())
    return process.returncode == 0
