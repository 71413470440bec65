"""A service that was started and answers, as far as the experiment has to know it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.deployments.change import MakeChange, no_change
from runfiles.records import Limits


@dataclass(frozen=True)
class Service:
    """``replicas`` is what ``--replicas`` of the locustfiles takes. ``limits`` are those of each replica.

    ``copy_metrics`` copies the service's own metrics CSV into a folder and returns the files; ``metrics_place`` tells a
    person where that CSV is, or which command copies it; None: the service writes none.

    ``change`` changes a replica, or all, while a load goes on. ``keep_files`` copies from the container what would lie
    on this machine if the engine were here. It is called before the removal, and raises what ``copy_metrics`` does.

    ``gone`` says why the service no longer runs, with its last words; None as long as it runs. ``last_words`` is the
    last line that it has written. Both raise one of ``API_FAILURES`` if a Docker engine has to be asked and does not
    answer.
    """

    replicas: str
    copy_metrics: Callable[[Path], list[Path]]
    metrics_place: str | None
    limits: Limits
    gone: Callable[[], str | None]
    last_words: Callable[[], str]
    change: MakeChange = no_change
    keep_files: Callable[[], None] = lambda: None


def live_folder(folder: Path) -> Path:
    """Where a service that writes to this machine's disk keeps its metrics CSV while it runs. Nobody has made it yet.

    ``copy_metrics`` puts a copy beside this folder after the single pass. The load that follows must not lengthen it.
    """
    return folder / "live"
