"""The ssh command to the machine that a URL at ``ssh://`` names, with the user's own keys and settings."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

SCHEME = "ssh"
OPTIONS = {
    "BatchMode": "yes",  # it never asks for a password or whether a host is known
    "ConnectTimeout": "15",
    "ServerAliveInterval": "5",  # three without an answer end the connection
    "ControlPath": "none",  # a connection of its own, which ends with its process
    "ExitOnForwardFailure": "yes",
    "StreamLocalBindUnlink": "yes",
}
FAILED_EXIT_CODE = 255
"""ssh's own: there is no connection. Any other code is that of the command on the other machine."""

PYTHON = "python3 -u -c 'import json, sys; exec(json.loads(sys.stdin.readline()))'"
"""Runs a program there that comes as the first line of standard input, as a JSON string. So no shell has to understand
it, whichever the user has there."""


def ssh(url: str, *options: str) -> list[str]:
    """The ssh command to the machine of a URL."""
    address = urlsplit(url)
    command = [SCHEME, "-T", "-x", *(part for name, value in OPTIONS.items() for part in ("-o", f"{name}={value}"))]
    if address.username:
        command += ["-l", unquote(address.username)]
    if address.port is not None:
        command += ["-p", str(address.port)]
    return [*command, *options, "--", address.hostname or ""]


def place_of(url: str) -> str:
    """The other machine, for people: USER@HOST, without port and path."""
    address = urlsplit(url)
    return f"{address.username}@{address.hostname}" if address.username else str(address.hostname)
