"""The plan of an experiment: how much is measured, in which order, and under which limits.

A plan is a small TOML file; a key that it leaves out has the value that ``Plan`` gives it. plans/default.toml is that
plan with a comment on each key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from infra.deployments.change import Change
from infra.deployments.confinement import MEMORY_BYTES, RESERVED_MEMORY_BYTES
from infra.deployments.cpus import FORM as CPUSET_FORM
from infra.deployments.cpus import cpuset
from infra.errors import PlanError
from infra.experiment.capacity import LOAD_SHARE, ROUNDS, Capacity, as_table, capacity_of
from infra.experiment.changes import ROUNDS as ROUNDS_OF_CHANGES
from infra.experiment.changes import changes_of, why_together_wrong
from infra.experiment.grid import Grid, grid_of
from infra.experiment.grid import as_table as grid_as_table
from runfiles.cluster import PLACEMENTS, SPREAD
from runfiles.deployments import DEFAULT, DEPLOYMENTS, NAMES, hint_for
from runfiles.events import ARRIVALS, AUTO, BLOCKS, KEPT, LAYOUTS, NEW, POISSON, TURNS
from runfiles.fields import why_no_name
from runfiles.reconnect import read_reconnect_every
from runfiles.records import MOST_BUDGET_MINUTES, PlanRecord
from servicefile import toml
from servicefile.toml import number, one_of, or_none, whole

KEEP_ALIVE = "keep_alive"
USER_CLASSES = (KEEP_ALIVE, "new_connection")
MIB = 1024**2
FEWEST_BLOCKS = 2
"""Measured blocks of each deployment in a round, however short the plan's ``seconds`` are."""

OPEN_LOAD = "open_load"
"""The locustfile of an open workload."""

MOST_RATES = 100

SETTLE_S = 0.2
"""How long the load goes to a deployment before its block is measured."""

CAPACITY_SETTLE_S = 1.0

OPEN_SETTLE_SHARE = 0.2
"""Of an open workload at least this share of a block's length: the queue has to fill."""

AUTO_RATES = tuple(float(round(10 * 2 ** (step / 2))) for step in range(21))
"""10 to 10,000 requests per second, each 1.41 times the one before. A deployment that is overloaded gets no higher one.
"""

NEWER = ("layout", "precision", "budget_minutes", "block_s", "processes", "arrivals", "rates", "changes", "load_nodes")
"""Keys that records of earlier versions lack, and that can't be none."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how.

    In each round every deployment is started anew, gets the single pass, and then the load of ``users``, of which
    ``warm_up_s`` enter no figure and ``seconds`` do, or fewer once ``requests`` of these are answered (None: no such
    end). ``layout`` "blocks": the deployments of a group run at once, and the load visits them in blocks of
    ``block_s``, at most half of ``seconds``, which are those of each deployment. "turns": one deployment after another.
    ``rest_s`` lie between two groups or deployments.

    ``rounds`` None: until the interval of every pair's ratio is as narrow as ``precision`` (half its width, in
    percent), or ``budget_minutes`` are up. With a number neither counts.

    ``reconnect_every``: a connection that is kept is replaced after so many requests (``100``), or when it is so many
    seconds old (``10s``); None: never.

    With ``rate`` the workload is an open one: so many requests are due per second, ``arrivals`` says how, and ``users``
    does not count. With ``rates`` each block has the next of these rates: a staircase, which takes ``seconds`` at each.
    With ``capacity`` the load of each round is a search for the highest rate that meets an objective. With ``grid``
    each of its cells is an experiment with a plan of its own (infra/experiment/cells.py). ``changes`` are made while
    the load goes on.

    ``seed`` shuffles the texts of the load, the same way each time; 0 leaves them in the order of their file. ``cpus``
    (cores; None: all) and ``memory_mb`` (MiB) limit each container, and not the host process. ``processes``: Locust's
    workers; 1: it has none. ``generator_cpus`` and ``service_cpus``: the processors that Locust and the service may
    use, such as ``0-1,3``; None: all.

    ``placement``: where the replicas of Swarm run ("spread": evenly over the nodes, "one-node"); None: as Swarm places
    them. ``workers`` and ``load_nodes`` are for an experiment on a cluster: how many of Locust's workers send the load
    (None: one), and the names of the nodes that run no replica.
    """

    deployments: tuple[str, ...] = DEFAULT
    layout: str = BLOCKS
    rounds: int | None = None
    precision: float = 5.0
    budget_minutes: float = 6.0
    users: int = 8
    seconds: int = 8
    requests: int | None = None
    block_s: float = 1.0
    warm_up_s: int = 2
    rest_s: int = 2
    user_class: str = KEEP_ALIVE
    reconnect_every: str | None = None
    rate: float | None = None
    rates: tuple[float, ...] = ()
    arrivals: str = POISSON
    capacity: Capacity | None = None
    grid: Grid | None = None
    changes: tuple[Change, ...] = ()
    seed: int = 1
    cpus: float | None = None
    memory_mb: int = MEMORY_BYTES // MIB
    processes: int = 1
    generator_cpus: str | None = None
    service_cpus: str | None = None
    placement: str | None = None
    workers: int | None = None
    load_nodes: tuple[str, ...] = ()

    @property
    def blocks(self) -> int:
        """How many measured blocks each deployment gets in a round."""
        if self.rates:
            return len(self.rates)
        return max(FEWEST_BLOCKS, round(self.seconds / self.block_s))

    @property
    def settle_s(self) -> float:
        """How long the load goes to a deployment before each block is measured, in seconds."""
        if self.capacity is not None:
            return CAPACITY_SETTLE_S
        return max(SETTLE_S, OPEN_SETTLE_SHARE * self.block_s) if self.all_rates else SETTLE_S

    @property
    def load_s(self) -> float:
        """How long each deployment's load is measured in a round, at the most."""
        if self.capacity is not None:
            return self.search_s(len(self.deployments)) / LOAD_SHARE
        return self.seconds * max(1, len(self.rates))

    def search_s(self, deployments: int) -> float:
        """How long the load of one search of the capacity may last, with so many deployments in a group."""
        if self.capacity is None:
            return 0.0
        return self.capacity.search_s(self.budget_minutes, self.rounds or ROUNDS, deployments)

    @property
    def all_rates(self) -> tuple[float, ...]:
        """The rates of an open workload; none if it is a closed one."""
        if self.capacity is not None:
            return (self.capacity.lowest,)
        return self.rates or (() if self.rate is None else (self.rate,))

    @property
    def locustfile(self) -> str:
        """The name of the locustfile that sends the load."""
        return OPEN_LOAD if self.all_rates else self.user_class

    @property
    def load_arguments(self) -> list[str]:
        """What Locust is told of the users and of the rate, and of its processes."""
        said = self.arguments_for(self.workers or self.processes)
        return [*said, "--processes", str(self.processes)] if self.processes > 1 else said

    def arguments_for(self, workers: int) -> list[str]:
        """What Locust is told of the users and of the rate, if so many workers share the load."""
        users = workers if self.all_rates else self.users
        said = ["--users", str(users), "--spawn-rate", str(users), "--seed", str(self.seed)]
        if self.all_rates:
            connection = KEPT if self.user_class == KEEP_ALIVE else NEW
            said += ["--rate", str(self.all_rates[0]), "--arrivals", self.arrivals, "--connection", connection]
        said += ["--reconnect-every", self.reconnect_every] if self.reconnect_every is not None else []
        return said

    @property
    def load_in_words(self) -> str:
        """The load, such as "8 users"."""
        if self.capacity is not None:
            return f"search for the capacity ({self.capacity.slo})"
        if not self.all_rates:
            return f"{self.users} users"
        first, last = self.all_rates[0], self.all_rates[-1]
        return f"{first:g} requests/s" if first == last else f"{first:g} to {last:g} requests/s"

    @property
    def warm_up_blocks(self) -> int:
        """How many blocks of each deployment come before, and enter no figure."""
        return max(1, round(self.warm_up_s / self.block_s)) if self.warm_up_s else 0

    @property
    def record(self) -> PlanRecord:
        """The plan as the record of an experiment holds it. A grid has a record of its own."""
        values = asdict(self)
        del values["grid"]
        return PlanRecord(**values)

    def order(self, rounds: int) -> list[list[str]]:
        """The deployments of the first so many rounds in the order in which they are started: forth, back, forth, ...

        So a machine that gets slower with time does not slow always the same one.
        """
        forth = list(self.deployments)
        return [forth if number % 2 == 0 else forth[::-1] for number in range(rounds)]


def read_plan(path: Path | None, overrides: Sequence[str] = (), only: str | None = None) -> Plan:
    """The plan of a file, or the default, with the deployments of ``--only`` and then ``overrides`` of the form
    ``KEY=VALUE`` in place of its values.

    Raises:
        PlanError: the file can't be read, or a key or value in it, or in an override, is not one.
    """
    values = {} if path is None else _checked(_read(path), str(path))
    of_file = Plan(**values)
    refuse_idle(of_file, [key for key in values if values[key] != _default(key)], str(path))
    if only is not None:
        values |= _checked({"deployments": _from_text("deployments", only)}, "--only")
    keys_set = []
    for override in overrides:
        key, has_value, text = override.partition("=")
        if not has_value:
            raise PlanError(f"--set {override}: this is not KEY=VALUE, such as users=16 (a plan's file goes first)")
        table, is_in_table, name = key.partition(".")
        value = _from_text(key, text)
        if is_in_table and table in TABLES:
            key, value = table, (TABLES[table](values.get(table)) or {}) | {name: value}
        keys_set.append(key)
        values |= _checked({key: value}, "--set")
    try:
        plan = consistent(Plan(**values))
    except PlanError as error:
        where = [str(path)] if path is not None else []
        where += ["--set"] if keys_set else []
        raise PlanError(f"{' and '.join(where)}: {error}") from None
    refuse_idle(plan, [key for key in keys_set if values[key] is not None], "--set")
    return plan


def plan_of(record: PlanRecord, where: str) -> Plan:
    """The plan that an experiment's record holds. An earlier version measured in turns, and had fewer keys.

    Raises:
        PlanError: a value of it is not one that a plan may have.
    """
    earlier = {} if record.layout is not None else {"layout": TURNS}
    said = {key: value for key, value in record.to_json().items() if value not in (None, []) or key not in NEWER}
    return consistent(Plan(**_checked(said | earlier, where)))


def consistent(plan: Plan) -> Plan:
    """The plan, if its values can be true together. A block is at most half of the measured seconds.

    Raises:
        PlanError: they can't.
    """
    if plan.changes:
        return _with_changes(plan)
    if plan.grid is not None and (plan.rates or plan.capacity):
        raise PlanError("a grid has one load in each cell; leave rates and capacity out, or leave the grid out")
    if plan.grid is not None and plan.grid.users and plan.rate is not None:
        raise PlanError("grid.users and rate are both there; leave one of them out")
    if plan.rates and plan.rate is not None:
        raise PlanError("rate and rates are both there; leave one of them out")
    if plan.capacity is not None and (plan.rates or plan.rate is not None):
        raise PlanError("a search for the capacity finds the rates itself; leave rate and rates out")
    if (plan.rates or plan.capacity) and plan.layout != BLOCKS:
        raise PlanError(f'rates and capacity need layout = "{BLOCKS}": each rate has a block')
    if plan.reconnect_every is not None and plan.user_class != KEEP_ALIVE:
        raise PlanError(
            f'reconnect_every is for connections that are kept; leave it out, or set user_class = "{KEEP_ALIVE}"'
        )
    if not plan.all_rates and plan.processes > plan.users:
        raise PlanError(f"processes = {plan.processes} is more than users = {plan.users}: a process would have no user")
    if plan.cpus is not None and plan.service_cpus is not None and plan.cpus > len(cpuset(plan.service_cpus)):
        raise PlanError(
            f"cpus = {plan.cpus:g} is more than service_cpus = {plan.service_cpus} has; "
            "leave cpus out, or name more processors"
        )
    if plan.capacity is not None:
        rounds = plan.rounds or ROUNDS
        if why := plan.capacity.why_too_short(plan.budget_minutes, rounds, len(plan.deployments)):
            raise PlanError(why)
        return replace(plan, rounds=rounds)
    if plan.rates:
        return replace(plan, block_s=float(plan.seconds))
    return replace(plan, block_s=min(plan.block_s, plan.seconds / FEWEST_BLOCKS))


def _with_changes(plan: Plan) -> Plan:
    """A plan with changes. Each deployment is alone: a load in blocks would be elsewhere when something changes.

    Raises:
        PlanError: its values can't be true together.
    """
    if plan.rates or plan.capacity or plan.grid:
        raise PlanError("changes need one load; leave rates, capacity and grid out, or leave changes out")
    if plan.requests is not None:
        raise PlanError("changes need a load of known length; leave requests out")
    if plan.placement == SPREAD:
        raise PlanError(
            "changes and placement = spread are both there, and a node that is full takes no new replica; "
            "leave placement out: Swarm spreads replicas by itself"
        )
    if reason := why_together_wrong(plan.changes, plan.seconds, has_rate=plan.rate is not None):
        raise PlanError(reason)
    alone = replace(plan, changes=(), layout=TURNS, rounds=plan.rounds or ROUNDS_OF_CHANGES)
    return replace(consistent(alone), changes=plan.changes)


def refuse_idle(plan: Plan, keys: Collection[str], where: str) -> None:
    """Refuse keys that have no effect in a plan, although they were given: something else was meant.

    Args:
        plan: what is carried out.
        keys: those that were given.
        where: the file, or the option, for messages.

    Raises:
        PlanError: one of the keys has no effect.
    """
    idle: tuple[str, ...]
    remedy = ""
    if plan.capacity is not None:
        load, idle = "the load is a search for the capacity", ("users", "seconds", "requests", "precision")
    elif plan.rates:
        load, idle = "the load is a staircase of rates", ("users", "block_s", "precision")
    elif plan.rate is not None:
        load, idle = "the load has a rate", ("users",)
    elif plan.grid is None or not plan.grid.rate:
        load, idle, remedy = "the load has users and no rate", ("arrivals",), "add a rate (rate=50), or "
    else:
        return
    for key in idle:
        if key in keys:
            raise PlanError(f"{where}: {key} has no effect, because {load}; {remedy}leave {key} out")


def _read(path: Path) -> dict[str, Any]:
    try:
        return toml.read(path, "plan", "plans/default.toml")
    except toml.NotValid as error:
        raise PlanError(str(error)) from error


def _from_text(key: str, text: str) -> Any:
    """The value that a command line gives, which needs no quotes; ``none`` is what a file says by leaving out a key."""
    if key == "deployments":
        return text.split(",")
    if text == "none":
        return None
    try:
        values = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return values["value"] if len(values) == 1 else text


def _checked(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    try:
        return toml.checked(values, _CHECKS, where, "a plan", _default)
    except toml.NotValid as error:
        raise PlanError(str(error)) from error


def _default(key: str) -> Any:
    return next(field.default for field in fields(Plan) if field.name == key)


_rate = number("a number of requests per second", 0.1, 100_000)


def _percent(value: Any) -> float:
    """A file may write the sign as well: ``"5%"``."""
    if isinstance(value, str) and value.endswith("%"):
        with suppress(ValueError):
            value = float(value.removesuffix("%"))
    percent: float = number("a percentage", 0.5, 100)(value)
    return percent


def _rates(value: Any) -> tuple[float, ...]:
    """Rates that rise, each of which has a block; None: there are none."""
    what = f'a list of 1 to {MOST_RATES} rising rates, such as [20, 40, 80], or "auto"'
    if value is None:
        return ()
    if value == AUTO:
        return AUTO_RATES
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MOST_RATES:
        raise ValueError(what)
    try:
        rates = tuple(float(_rate(rate)) for rate in value)
    except ValueError as error:
        raise ValueError(f"{what} ({error})") from error
    if any(after <= before for before, after in pairwise(rates)):
        raise ValueError(what)
    return rates


def _cpuset(value: Any) -> str:
    """TOML takes a set of one processor for a number."""
    text = str(value) if type(value) is int and value.bit_length() <= 64 else value
    if not isinstance(text, str):
        raise ValueError(CPUSET_FORM)  # noqa: TRY004  no caller's slip
    cpuset(text)
    return text


def _deployments(value: Any) -> tuple[str, ...]:
    """In the order in which they are shown, whatever the order in which they are named."""
    known = list(DEPLOYMENTS)
    if not isinstance(value, list | tuple) or not value or any(name not in known for name in value):
        named = value if isinstance(value, list | tuple) else []
        hints = [hint for name in named if isinstance(name, str) and (hint := hint_for(name))]
        if not any(named):
            hints = ["it names no deployment"]
        raise ValueError(f"a list of {NAMES}" + "".join(f" ({hint})" for hint in hints[:1]))
    return tuple(name for name in known if name in value)


def _node_names(value: Any) -> tuple[str, ...]:
    """Names of nodes, each once; None: none."""
    names = value.split(",") if isinstance(value, str) else [] if value is None else value
    if not isinstance(names, list | tuple) or any(not isinstance(name, str) or why_no_name(name) for name in names):
        raise ValueError('a list of names of nodes, such as ["node1"]')
    return tuple(dict.fromkeys(names))


def _reconnect_every(value: Any) -> str:
    return str(read_reconnect_every(value))


_CHECKS: dict[str, toml.Check] = {
    "deployments": _deployments,
    "layout": one_of(LAYOUTS),
    "rounds": or_none(whole(1, 100)),
    "precision": _percent,
    "budget_minutes": number("a number of minutes", 0.5, MOST_BUDGET_MINUTES),
    "users": whole(1, 1000),
    "seconds": whole(1, 3600),
    "requests": or_none(whole(1, 10**7)),
    "block_s": number("a number of seconds", 0.2, 60),
    "warm_up_s": whole(0, 600),
    "rest_s": whole(0, 600),
    "user_class": one_of(USER_CLASSES),
    "reconnect_every": or_none(_reconnect_every),
    "rate": or_none(_rate),
    "rates": _rates,
    "arrivals": one_of(ARRIVALS),
    "capacity": partial(capacity_of, _percent),
    "grid": grid_of,
    "changes": changes_of,
    "seed": whole(0, 2**31 - 1),
    "cpus": or_none(number("a number of cores", 0.01, 1024)),
    "memory_mb": whole(RESERVED_MEMORY_BYTES // MIB, 2**22),
    "processes": whole(1, 64),
    "generator_cpus": or_none(_cpuset),
    "service_cpus": or_none(_cpuset),
    "placement": or_none(one_of(PLACEMENTS)),
    "workers": or_none(whole(1, 64)),
    "load_nodes": _node_names,
}
"""Of each key: what turns its value into the plan's, or raises ``ValueError`` with what would be right."""

KEYS = tuple(_CHECKS)

TABLES: dict[str, Callable[[Any], dict[str, Any] | None]] = {"capacity": as_table, "grid": grid_as_table}
"""The keys that are tables -> what makes their values a table again, of which ``--set`` can change one key."""
