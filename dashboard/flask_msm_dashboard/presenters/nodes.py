"""How a node is shown: a word, a shape, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from flask_msm.operations.state import facts
from flask_msm.operations.state.attention import rebuild_text
from flask_msm.operations.state.attention.item import node_href
from flask_msm.operations.state.formatting import (
    UNKNOWN,
    clock,
    milliseconds,
    number,
    percent,
    size,
)
from flask_msm.operations.state.texts import _, plural

from ..sparkline import bar, sparkline
from ..tags import left_tag


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import Node, Snapshot
    from flask_msm.operations.state.attention import Item
    from flask_msm.operations.statistics import NodeStats

    from ..context import PageContext


#: Memory that is fuller than this is worth a colour.
_FULL = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One node in a table.

    Attributes:
        node: What is known of it.
        level: ``ok``, ``warn``, ``bad`` or ``off``.
        word: Its state in a word.
        detail: What that means.
        retry: When it is asked again, as a countdown.
        latency: Of 95 of 100 answers, with its unit.
        spark: A line of it.
        hit_ratio: With its unit.
        items: How many.
        bar: How full its memory is.
        fill: The same in percent.
        limit: How much memory it has.
        evictions: Per minute, in words.
        evicting: Whether there are any.
        last: For a node that does not answer: why, and its last numbers.
        nothing: Why there are no numbers.
    """

    node: Node
    level: str
    word: str
    detail: str
    retry: Markup | None = None
    latency: str
    spark: Markup
    hit_ratio: str
    items: str
    bar: Markup
    fill: str
    limit: str
    evictions: str
    evicting: bool
    last: str | None = None
    nothing: str | None = None


def failures_text(node: Node) -> str:
    """Return in words how often *node* failed the workers that can be seen."""
    counted = [o for o in node.opinions if o.timeouts is not None and o.breaks is not None]
    if not counted:
        return UNKNOWN
    timeouts = sum(opinion.timeouts or 0 for opinion in counted)
    breaks = sum(opinion.breaks or 0 for opinion in counted)
    if not timeouts + breaks:
        return _("none")
    return ", ".join(
        [
            plural(timeouts, "{n} time-out", "{n} time-outs"),
            plural(breaks, "{n} refused or broken connection", "{n} refused or broken connections"),
        ]
    )


def causes_of(node: Node, page: PageContext) -> list[Item]:
    """Return what is wrong with *node*, with who is hurt by it and what to do."""
    down = node in facts.down(page.snapshot)
    return [
        item
        for item in page.attention
        if item.href == node_href(node) or (down and item.code == "node_down")
    ]


def node_row(node: Node, snapshot: Snapshot) -> NodeRow:
    """Return how *node* is shown."""
    level, word, detail = _state(node, snapshot.at)
    now, stats = snapshot.at, node.stats
    answers = node.state not in {"down", None}
    fill = _fill(stats)
    evicting = facts.is_evicting(node)
    tone = "warn" if fill is not None and fill > _FULL else ""
    retry = None
    if node.state == "down" and node.retry_at is not None and node.retry_at > now:
        retry = left_tag(node.retry_at, now)
    return NodeRow(
        node=node,
        level=level,
        word=word,
        detail=detail,
        retry=retry,
        latency=_("No answer") if node.state == "down" else _latency(stats),
        spark=sparkline(
            stats.latencies if stats else (),
            "warn" if evicting or facts.is_slow(node) else "",
            dead=node.state == "down",
        ),
        hit_ratio=f"{percent(stats.hit_ratio)} %"
        if stats and stats.hit_ratio is not None
        else UNKNOWN,
        items=number(stats.items if stats else None),
        bar=bar(fill, tone),
        fill=UNKNOWN if fill is None else f"{percent(fill, 0)} %",
        limit=size(stats.limit_bytes) if stats and stats.limit_bytes else "",
        evictions=_evictions(stats),
        evicting=evicting,
        last=None if answers or node.state is None else _last(node, now),
        nothing=_nothing(node),
    )


def _state(node: Node, now: float) -> tuple[str, str, str]:  # noqa: PLR0911 - one for each state
    state = node.state
    if node.drain is not None or state in {"draining", "drained"}:
        done = state == "drained" or (node.drain is not None and node.drain.value == "drained")
        by = _("By {name}", name=node.drain.set_by) if node.drain and node.drain.set_by else ""
        if done:
            return "off", _("Drained"), by or _("Out of use")
        copied = node.rebuild.copied if node.rebuild else None
        detail = _("Being copied away")
        if copied is not None:
            detail = plural(copied, "{n} session copied away", "{n} sessions copied away")
        return "off", _("Being drained"), detail
    if state is None:
        return "off", _("Not seen yet"), _("No worker has asked it yet")
    if state == "down" and node.phase != "unreached":
        return "bad", _("Down"), facts.error_text(node.error)
    if node.phase == "unreached":
        return "warn", _("Not reached"), _dissent(node)
    if facts.is_rebuilding(node):
        return "warn", _("Being filled"), rebuild_text(node, now)
    if facts.is_evicting(node):
        return "warn", _("Full"), _("Throws live sessions out")
    if facts.is_slow(node):
        return "warn", _("Slow"), _("Requests wait for it")
    if state == "suspect":
        detail = plural(node.failures, "{n} failure in a row", "{n} failures in a row")
        return "warn", _("Up, failing"), detail
    return "ok", _("Up"), _dissent(node) or _("Answers all workers")


def _dissent(node: Node) -> str:
    total = len(node.opinions)
    up = sum(opinion.state in facts.ANSWERING for opinion in node.opinions)
    return "" if up == total else _("Reached by {k} of {n} workers", k=up, n=total)


def _latency(stats: NodeStats | None) -> str:
    if stats is None:
        return UNKNOWN
    value = stats.latency_p95 if stats.latency_p95 is not None else stats.latency
    return UNKNOWN if value is None else f"{milliseconds(value)} ms"


def _fill(stats: NodeStats | None) -> float | None:
    if stats is None or stats.bytes is None or not stats.limit_bytes:
        return None
    return stats.bytes / stats.limit_bytes


def _evictions(stats: NodeStats | None) -> str:
    rate = stats.evictions_per_minute if stats else None
    if rate is None:
        return UNKNOWN
    if not rate:
        return _("None")
    return number(rate, 0 if rate >= 10 else 1)


def _last(node: Node, now: float) -> str:
    text = facts.error_text(node.error) + "."
    stats = node.stats
    if stats is None:
        return text
    known = []
    if stats.items is not None:
        known.append(plural(stats.items, "{n} item", "{n} items"))
    fill = _fill(stats)
    if fill is not None:
        known.append(_("{n} % full", n=percent(fill, 0)))
    if not known:
        return text
    return _(
        "{error} Last numbers at {time}: {numbers}",
        error=text,
        time=clock(stats.at, now),
        numbers=", ".join(known),
    )


def _nothing(node: Node) -> str | None:
    if node.state is None:
        return _("Not seen yet. It is asked with the first session.")
    if node.stats is None and node.state != "down":
        why = node.stats_error or _("they were not read yet")
        return _("No statistics: {why}. Health is from session traffic only.", why=why)
    return None
