"""``python -m infra check``: starts each deployment once, sends it a few texts, and says what came back."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.causes import Causes
from infra.deployments.docker_engine import FAILURES, connect
from infra.deployments.images import have_image
from infra.deployments.own_python import prepare_python
from infra.deployments.probe import NOT_ANSWERED, Pace, ask, why_wrong
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, Running, deployed, keep_log, why_not
from infra.deployments.users_files import why_not_valid
from infra.errors import ImageError, why
from infra.last_words import counted, tail
from infra.paths import STATE
from runfiles.deployments import HOST, title_of
from runfiles.files import FAILED_START_FILE
from runfiles.lines import printable
from servicefile.service_file import Request
from servicefile.texts import requests_of

TEXTS = 3
ANSWER_S = 30.0
OTHERS_S = 10.0
"""So long the texts after the first ones are sent, to one deployment: they are the same for all."""

MOST_WRONG = 3
"""So many of these texts are shown if they are answered wrongly."""

MOST_NUMBERS = 50
"""Of so many of them the number is told."""

LOG_LINES = 20
"""So many of the last lines are shown of the log of a deployment that does not start."""

FOLDER = STATE / "check"


def check(names: Sequence[str], settings: Settings) -> int:
    """Look at each of these deployments, one after another, and print what is found. Returns 0 if the service answers
    as its service file says wherever it can run, else 1.

    Raises:
        NotValid: a Compose file or stack file that the service file names can't be used.
    """
    warnings = why_not_valid(names, settings)
    service, request = settings.service, settings.service.request
    texts = requests_of(request)
    print(f"{service.name} ({service.path.name}): {len(texts)} texts of {request.texts.name}")
    print(f"a request: {request.method} {texts[0].target.decode()}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    needs_image = any(BY_NAME[name].facts.needs_engine for name in names)
    no_image, is_wrong = _why_no_image(settings) if needs_image else (None, False)
    found = list(_look_at_all(names, settings, no_image))
    right = [look.is_right for look in found]
    if found:
        print(f"{sum(right)} of {len(found)} deployments that can run here answer as they should")
        if len(found) > 1 and (title := next((look.title for look in found if look.sent_all), None)):
            print(f"only {title} was asked with all texts; each other deployment that started with {TEXTS}")
    else:
        print("no deployment can run here; the reasons are above")
    if is_wrong:
        print("the containers could not be asked: there is no image; the reason is above")
    for warning in warnings:
        print(f"warning: {warning}")
    return 0 if found and all(right) and not is_wrong else 1


@dataclass(frozen=True)
class _Look:
    """What was seen of a deployment that can run here. ``sent_all``: it was sent more than the first texts."""

    title: str
    is_right: bool
    sent_all: bool = False


def _look_at_all(names: Sequence[str], settings: Settings, no_image: str | None) -> Iterator[_Look]:
    """Look at each deployment that can run here. ``no_image``: why no container can run."""
    causes = Causes()
    have_all_been_sent = False
    for name in names:
        title = title_of(name)
        reason = why_not(name, settings) or (no_image if BY_NAME[name].facts.needs_engine else None)
        if reason is not None:
            print(causes.tell(title, "not measured", reason))
            continue
        try:
            if name == HOST and settings.host_folder is None:
                prepare_python(settings.service, print)
            shutil.rmtree(FOLDER / name, ignore_errors=True)  # the log of an earlier look
            with deployed(name, settings, FOLDER / name) as running:
                look = _look_at(running, settings, sends_all=not have_all_been_sent)
                have_all_been_sent = have_all_been_sent or look.sent_all
                yield look
        except FAILURES as error:
            reason = why(error, FOLDER)
            is_new = causes.first_hit(reason) is None
            print(causes.tell(title, "failed", reason))
            if is_new:
                _print_log(FOLDER / name / FAILED_START_FILE)
            yield _Look(title, is_right=False)


def _print_log(log: Path) -> None:
    """The last lines of the log of a deployment that did not start."""
    for line in counted(tail(log))[-LOG_LINES:]:
        print(f"  | {printable(line)}")


def _why_no_image(settings: Settings) -> tuple[str | None, bool]:
    """Have the image on the engine; why there is none, and whether that is the image's or the service file's fault."""
    is_built = settings.built_from is not None
    try:
        engine = connect()
        if is_built:
            print("building the image ...", flush=True)
        have_image(engine, settings, FOLDER / "image_build.log", lambda _: None, is_built=is_built)
    except ImageError as error:
        return str(error), True
    except FAILURES as error:
        return why(error, FOLDER), False
    return None, False


def _look_at(running: Running, settings: Settings, *, sends_all: bool) -> _Look:
    """Send the first texts to a deployment and, if they are answered rightly and it ``sends_all``, the others."""
    request, title = settings.service.request, title_of(running.name)
    print(f"{title}: ready at {running.url} after {running.seconds_to_healthy:.1f} s")
    is_right = True
    named = False
    texts, took_s = requests_of(request), 0.0
    for text in texts[:TEXTS]:
        try:
            reply = ask(running.url, request, text, ANSWER_S)
        except NOT_ANSWERED as error:
            print(f"  text {text.text_id}: no answer ({error or type(error).__name__})")
            return _Look(title, is_right=False)
        took_s = reply.seconds
        named = named or bool(reply.header(settings.service.replica_header))
        said = f"status {reply.status}, {reply.seconds * 1000:.1f} ms, {len(reply.body)} bytes: {reply.beginning}"
        print(f"  text {text.text_id}: {said}")
        if reason := why_wrong(reply, request):
            print(f"  wrong: {reason}")
            is_right = False
    sends_all = sends_all and is_right and len(texts) > TEXTS
    if sends_all:
        is_right = _look_at_other_texts(running.url, request)
    if warning := Pace(took_s, len(texts)).warning:
        print(f"  slow: {warning}")
    names = "answers name their replica" if named else "answers do not name their replica"
    print(
        f"  measured: response time, CPU, memory{', network' if BY_NAME[running.name].facts.publishes else ''}; {names}"
    )
    if not is_right and (log := keep_log(running.name, FOLDER / running.name)):
        print(f"  the end of its log is in {log}")
    files = running.service.copy_metrics(_emptied(running.name))
    print(f"  its own metrics file: {', '.join(file.name for file in files) or 'none'}")
    return _Look(title, is_right, sends_all)


def _look_at_other_texts(url: str, request: Request) -> bool:
    """Send the texts after the first ones. Whether all answers are as the service file says.

    If one line in a file of texts is wrong, an experiment would find it only at its end, and would not be valid.
    """
    others = requests_of(request)[TEXTS:]
    until = time.monotonic() + OTHERS_S
    wrong: list[tuple[int, str]] = []
    sent = 0
    for text in others:
        if time.monotonic() > until:
            break
        sent += 1
        try:
            reason = why_wrong(ask(url, request, text, ANSWER_S), request)
        except NOT_ANSWERED as error:
            reason = f"no answer ({error or type(error).__name__})"
        if reason:
            wrong.append((text.text_id, f'  text {text.text_id}: wrong: {reason}; the text begins: "{text.begins}"'))
    for _, line in wrong[:MOST_WRONG]:
        print(line)
    late = "" if sent == len(others) else f", of which {sent} were sent in {OTHERS_S:g} s"
    numbers = ", ".join(str(number) for number, _ in wrong[:MOST_NUMBERS])
    more = ", ..." if len(wrong) > MOST_NUMBERS else ""
    how = f"{len(wrong)} answered wrongly (numbers in {request.texts.name}: {numbers}{more})" if wrong else "all right"
    print(f"  the other {len(others)} texts{late}: {how}")
    return not wrong


def _emptied(name: str) -> Path:
    """A folder for the metrics files of a look."""
    folder = FOLDER / f"{name}-metrics"
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    return folder
