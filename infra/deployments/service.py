"""A service that was started and answers, as far as the experiment has to know it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.deployments.settings import Limits


@dataclass(frozen=True)
class Service:
    """``replicas`` is what ``--replicas`` of the locustfiles takes; ``copy_metrics`` brings the service's own metrics
    CSV into a folder and returns the files; ``limits`` are those of each replica.

    ``gone`` says why the service is no longer there, with its last words; None for as long as it is. ``last_words`` is
    the last line that it has written. Both raise one of ``API_FAILURES`` where an engine has to be asked and does not
    answer.
    """

    replicas: str
    copy_metrics: Callable[[Path], list[Path]]
    limits: Limits
    gone: Callable[[], str | None]
    last_words: Callable[[], str]
