"""The service that is asked, as its service file says, and the texts in the order in which they are sent."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from runfiles.records import Texts
from servicefile.service_file import ServiceFile, read_service
from servicefile.texts import TextRequest, digest, requests_of

from _client import Expected


@dataclass(frozen=True)
class Asked:
    """A service, and the request for each text."""

    service: ServiceFile
    requests: Sequence[TextRequest]
    expected: Expected

    def in_order(self, seed: int) -> Sequence[TextRequest]:
        """The requests in the order in which a load sends them, round after round. Seed 0: the order of the file."""
        if not seed:
            return self.requests
        return random.Random(seed).sample(self.requests, len(self.requests))  # noqa: S311  no secret

    def texts_record(self) -> Texts:
        """Which texts a run sends, for its record: runs with different texts can't be compared."""
        file = self.service.request.texts
        return Texts(file=file.name, sha256=digest(file), count=len(self.requests))


@cache
def asked_service(path: str) -> Asked:
    """What a service file says.

    Raises:
        servicefile.toml.NotValid: it can't be used.
    """
    service = read_service(Path(path))
    request = service.request
    pattern = re.compile(request.answer_has.encode()) if request.answer_has is not None else None
    return Asked(service, requests_of(request), Expected(request.status, pattern))
