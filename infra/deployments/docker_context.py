"""Which engine the docker command would talk to: DOCKER_HOST, else the current context, else the default socket.

docker-py reads the same settings, with two differences. If a context is missing, it uses the default socket and says
nothing. If DOCKER_CONFIG names a folder without config.json, it looks for contexts in another folder. The image and the
containers would then be on two engines, so this module reads the files of ``docker context`` itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.tls import TLSConfig
from docker.utils import kwargs_from_env

from infra.errors import DeploymentError

DEFAULT = "default"
DEFAULT_ADDRESS = "unix:///var/run/docker.sock"
REMEDY = "name one that is there (docker context ls, docker context use default, or unset DOCKER_CONTEXT) and run again"


@dataclass(frozen=True)
class Address:
    """Where an engine listens, the keys for it, and the context that names it (None: no context does)."""

    url: str
    tls: TLSConfig | None = None
    context: str | None = None

    def __str__(self) -> str:
        return self.url if self.context is None else f"{self.url} (context {self.context})"


def address() -> Address:
    """The engine's address.

    Raises:
        DeploymentError: the current context is missing or broken; with the remedy.
        docker.errors.TLSParameterError: the files that DOCKER_CERT_PATH should hold are missing.
    """
    if host := os.environ.get("DOCKER_HOST"):
        return Address(host, kwargs_from_env().get("tls"))
    name = os.environ.get("DOCKER_CONTEXT") or _configured().get("currentContext") or DEFAULT
    if not isinstance(name, str) or name == DEFAULT:  # the docker command ignores a value of another type
        return Address(DEFAULT_ADDRESS)
    return _of_context(name)


def doubts() -> list[str]:
    """What is wrong with the docker command's own configuration, with remedies. The engine may answer all the same."""
    try:
        content = json.loads(config_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        return [f"{config_file()} can't be read, and its context and logins are not used: {error}; repair or remove it"]
    content = content if isinstance(content, dict) else {}
    helpers = content.get("credHelpers")
    stores = {content.get("credsStore"), *(helpers.values() if isinstance(helpers, dict) else ())} - {None, ""}
    return [
        f"{config_file()} names docker-credential-{store}, which is not on the PATH: pulls and builds that ask a "
        "registry fail; install it, or take the name out"
        for store in sorted(map(str, stores))
        if shutil.which(f"docker-credential-{store}") is None
    ]


def config_file() -> Path:
    return _folder() / "config.json"


def _folder() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def _configured() -> Mapping[str, Any]:
    """The content of config.json; empty if it can't be read, as for the docker command."""
    try:
        content = json.loads(config_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _of_context(name: str) -> Address:
    """The address in a context's files. Their folder has a digest of the context's name as its name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    meta = _folder() / "contexts" / "meta" / digest / "meta.json"
    try:
        endpoint = json.loads(meta.read_text(encoding="utf-8"))["Endpoints"]["docker"]
        url, skips_verify = str(endpoint.get("Host") or DEFAULT_ADDRESS), bool(endpoint.get("SkipTLSVerify"))
    except FileNotFoundError as error:
        raise DeploymentError(f"the Docker context {name} is missing ({meta}); {REMEDY}") from error
    except OSError as error:
        raise DeploymentError(f"the Docker context {name} can't be read ({error}); {REMEDY}") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DeploymentError(f"the Docker context {name} is broken ({meta} names no engine); {REMEDY}") from error
    return Address(url, _tls(name, digest, skips_verify) if url.startswith("tcp:") else None, name)


def _tls(name: str, digest: str, skips_verify: bool) -> TLSConfig | None:
    """A context's keys. None if it has none: the connection then uses no TLS."""
    folder = _folder() / "contexts" / "tls" / digest / "docker"
    ca, certificate, key = (folder / f"{part}.pem" for part in ("ca", "cert", "key"))
    there = [path for path in (ca, certificate, key) if path.is_file()]
    if not there and not skips_verify:
        return None
    if certificate.is_file() != key.is_file():
        raise DeploymentError(f"the Docker context {name} is broken ({folder} lacks cert.pem or key.pem); {REMEDY}")
    client = (str(certificate), str(key)) if certificate.is_file() else None
    return TLSConfig(client_cert=client, ca_cert=str(ca) if ca.is_file() else None, verify=not skips_verify)
