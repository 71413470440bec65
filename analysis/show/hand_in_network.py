"""NET I/O with three replicas, explained with this run's figures: what each replica got, and why that is the sum."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.analyse import Analysis
from analysis.judge.advice import command_with
from analysis.measure.balance import Balance, ReplicaShare
from analysis.show.elements import Cell, Column, Row, Table
from analysis.show.hand_in import decimal_size, why_not_measured
from analysis.show.markdown import code, safe
from runfiles.deployments import title_of
from runfiles.places import DOCTOR

ONE, THREE = "swarm-1", "swarm-3"
NOT_TOLD = "not told"
NOT_MEASURED = "not measured"
NEARLY = 0.05
"""Bytes for an answer that differ by less are called nearly the same."""

RULE = (
    "Swarm's routing mesh (ingress) balances connections, not requests. It gives each new connection to the next "
    "replica, in turn. All requests of one connection go to the same replica. Each request goes to one replica only, "
    "so three replicas divide the bytes among them. They do not multiply them. docker stats shows each replica on its "
    "own: add the three up to get the sum."
)


def explanation(analysis: Analysis) -> list[str]:
    """Paragraphs of Markdown about this run. If three replicas were not measured, they say so, and give no figure."""
    three = _first(analysis, THREE)
    if three is None:
        return [_why_none(analysis)]
    one = _first(analysis, ONE)
    said = [_dealt(three), *_other_rounds(analysis), *_sum(three, one)]
    doubts = dict.fromkeys(doubt.title for doubt in analysis.validity.of(THREE))
    return [f"These figures are not valid: {'; '.join(doubts)}.", *said] if doubts else said


def replicas_table(analysis: Analysis) -> Table | None:
    """What each replica got in the first round of the load: the only replica, each of three, and the sum of the three.
    None if neither was measured."""
    found = [balance for name in (ONE, THREE) if (balance := _first(analysis, name)) is not None]
    if not found:
        return None
    columns = (
        Column("Replica"),
        Column("Connections", detail="in the whole run"),
        Column("Answers"),
        Column("Share of the answers"),
        Column("NET I/O", detail="in / out"),
        Column("Share of the bytes"),
        Column("Bytes for one answer", detail="in / out"),
    )
    rows = []
    for balance in found:
        shares = balance.shares
        rows += [_row(balance, share) for share in shares]
        if len(shares) > 1:
            rows.append(_sum_row(balance))
    heading = "What each replica got under load"
    has_more = any(len(balance.measurement.rounds) > 1 for balance in found)
    return Table(heading, heading, columns, tuple(rows), "The first round of each." if has_more else "")


def _first(analysis: Analysis, name: str) -> Balance | None:
    """The first round of a deployment."""
    return next((balance for balance in analysis.balances if balance.measurement.name == name), None)


def _why_none(analysis: Analysis) -> str:
    deployment = next((each for each in analysis.results.deployments if each.name == THREE), None)
    reason = why_not_measured(deployment) if deployment else NOT_MEASURED
    if deployment is not None and deployment.loads and analysis.results.has_changes:
        reason = f"{NOT_MEASURED}: replicas were changed while the load went on"
    command = command_with(analysis.results.experiment.command, only="swarm-1,swarm-3")
    return (
        f"{title_of(THREE)}: {safe(reason)}. So this report has no figures of three replicas. `{DOCTOR}` says "
        f"whether this machine can run Swarm. To measure it: `{code(command)}`."
    )


def _row(balance: Balance, share: ReplicaShare) -> Row:
    is_told = _is_told(balance)
    cells = (
        Cell(NOT_MEASURED if math.isnan(share.connections) else f"{share.connections:,.0f}"),
        Cell(f"{share.requests:,.0f}" if is_told else NOT_TOLD),
        Cell(f"{share.request_share:.1%}" if is_told else NOT_TOLD),
        _bytes(share.received_bytes, share.sent_bytes, share.missing or ""),
        Cell(NOT_MEASURED if math.isnan(share.byte_share) else f"{share.byte_share:.1%}"),
        _for_one(share.received_bytes, share.sent_bytes, share.requests if is_told else 0),
    )
    return Row(f"{balance.measurement.title}: {share.title}", cells)


def _sum_row(balance: Balance) -> Row:
    received, sent = _sums(balance.shares)
    answers = _answers(balance)
    connections = sum(share.connections for share in balance.shares)
    cells = (
        Cell(NOT_MEASURED if math.isnan(connections) else f"{connections:,.0f}"),
        Cell(f"{answers:,}"),
        Cell("100.0%"),
        _bytes(received, sent, "not all replicas were measured"),
        Cell(NOT_MEASURED if math.isnan(received + sent) else "100.0%"),
        _for_one(received, sent, answers),
    )
    return Row(f"{balance.measurement.title}: sum", cells)


def _bytes(received: float, sent: float, why_missing: str) -> Cell:
    if math.isnan(received + sent):
        return Cell(NOT_MEASURED, why_missing)
    return Cell(f"{decimal_size(received)} / {decimal_size(sent)}")


def _for_one(received: float, sent: float, answers: float) -> Cell:
    if math.isnan(received + sent) or not answers:
        return Cell(NOT_MEASURED)
    return Cell(f"{decimal_size(received / answers)} / {decimal_size(sent / answers)}")


def _is_told(balance: Balance) -> bool:
    """Whether every answer named its replica: otherwise the replicas' own numbers are not known."""
    return not balance.is_nameless and all(share.is_named or not share.requests for share in balance.shares)


def _sums(shares: Sequence[ReplicaShare]) -> tuple[float, float]:
    """The bytes that came in and went out, of all replicas; NaN if those of one are not known."""
    own = [share for share in shares if share.is_named]
    return sum(share.received_bytes for share in own), sum(share.sent_bytes for share in own)


def _answers(balance: Balance) -> int:
    return len(balance.measurement.deployment.loads[balance.number].answered)


def _dealt(balance: Balance) -> str:
    """How the connections were dealt, and what that makes of the answers."""
    even = balance.even
    if even is None or not _is_told(balance):
        return (
            "The service does not say which replica answered, so the answers of each replica are not known. NET I/O "
            "and connections are counted at the replicas, where that is possible, so they are known all the same."
        )
    shares = ", ".join(f"{share.connections:,.0f} ({safe(share.title)})" for share in balance.shares)
    who = "Each user kept its connection." if balance.keeps_connections else "Each request opened a connection."
    if balance.keeps_connections and balance.replaced_after is not None:
        who = f"Each user opened a new connection after {balance.replaced_after.in_words}."
    most = "at most " if balance.is_sticky else ""
    return (
        f"{who} The routing mesh dealt the connections to the replicas like this: {shares}. The busiest replica gave "
        f"{even.largest:.1%} of the answers; {most}{even.expected_largest:.1%} were expected ({even.why})."
    )


def _other_rounds(analysis: Analysis) -> list[str]:
    told = [
        balance.even.largest
        for balance in analysis.balances
        if balance.measurement.name == THREE and balance.even is not None and _is_told(balance)
    ]
    if len(told) < 2:
        return []
    return [f"In the {len(told)} rounds the busiest replica gave {min(told):.1%} to {max(told):.1%} of the answers."]


def _sum(three: Balance, one: Balance | None) -> list[str]:
    """Why the sum of the replicas is what it is."""
    received, sent = _sums(three.shares)
    answers = _answers(three)
    if math.isnan(received + sent) or not answers:
        return ["The bytes of all three replicas are not measured, so there is no sum."]
    said = (
        f"Together the three replicas received {decimal_size(received)} and sent {decimal_size(sent)} for {answers:,} "
        f"answers. That is {decimal_size((received + sent) / answers)} for one answer."
    )
    if one is None:
        return [f"{said} {title_of(ONE)} was not measured, so there is nothing to compare the sum with."]
    received_alone, sent_alone = _sums(one.shares)
    answers_alone = _answers(one)
    if math.isnan(received_alone + sent_alone) or not answers_alone:
        return [f"{said} The bytes of {title_of(ONE)} are not measured, so there is nothing to compare the sum with."]
    alone = (received_alone + sent_alone) / answers_alone
    ratio = (received + sent) / answers / alone
    said += (
        f" One replica alone received {decimal_size(received_alone)} and sent {decimal_size(sent_alone)} for "
        f"{answers_alone:,} answers: {decimal_size(alone)} for one answer."
    )
    if abs(ratio - 1) < NEARLY:
        return [
            f"{said} For one answer the bytes are nearly the same ({ratio:.2f} times). So the sum depends on how many "
            "requests were answered, not on how many replicas answered them."
        ]
    return [
        f"{said} For one answer that is {ratio:.2f} times as much. Each new connection costs bytes too, so compare how "
        "many connections and answers the two had."
    ]
