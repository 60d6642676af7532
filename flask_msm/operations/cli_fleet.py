"""The fleet in lines and tables, as the command line prints it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from flask_msm.cluster.control import DISTRIBUTION, ON_RECONNECT, POLICY
from flask_msm.errors import quoted

from .cli_causes import cause_lines
from .state.attention import attention
from .state.facts import reporting, word_of
from .state.formatting import class_of, iso, minute, percent
from .state.readiness import waits_for
from .state.texts import plural


if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .checks import Report
    from .history import History, Outage
    from .snapshot import BlacklistEntry, Event, Node, SessionFacts, Snapshot, Worker


#: The least that a session takes in a folder, bytes: a file takes a page.
FILE_TAKES = 4096


def status_lines(view: Snapshot) -> tuple[list[tuple[str, str]], bool]:
    """Return what there is to say of the fleet, and whether all is well."""
    live = reporting(view)
    modes = Counter(worker.mode for worker in live)
    counted = [f"{modes[mode]} {mode}" for mode in ("distributed", "local", "stopped")]
    seen = f"{len(live)} of {max(len(live), view.observer.workers_known or 0)} workers"
    lines = [
        ("workers", ", ".join(text for text in counted if text[0] != "0") or "none seen"),
        ("seen", f"{seen}, {_way(view)}"),
    ]
    for name in (POLICY, ON_RECONNECT, DISTRIBUTION):
        choice = getattr(view, name)
        by = "configured"
        if choice.set_at is not None:
            by = f"chosen by {choice.set_by}, applied by {choice.applied_by} of {choice.of}"
        lines.append((name.replace("_", " "), f"{choice.value} ({by})"))
    for node in view.nodes:
        up = f"up for {_up(node)} of {len(live)} workers"
        lines.append((node.id, f"{word_of(node)}, {up}"))
    kept = plural(_kept(live), "{n} session", "{n} sessions")
    lines.append(("kept on hosts", f"{kept} that the cluster does not know yet"))
    lines.append(("sessions lost", _lost(view)))
    failing = _failing(live)
    if failing:
        lines.append(("local storage", failing))
    if view.blacklist_total:
        lines.append(("not stored", _not_stored(view)))
    lines += [("room on hosts", text) for text in _cramped(live)]
    told = {item.code for item in attention(view)}
    for condition in view.conditions:
        if condition.kind not in told:
            lasts = _span(view.at - condition.since)
            lines.append((condition.level, f"{condition.text} (for {lasts})"))
    lines += cause_lines(view)
    for silence in view.silences:
        until = f"until {minute(silence.until)} by {silence.set_by}"
        lines.append(("silenced", f"{silence.node or 'the fleet'} {until}: {silence.note}"))
    waits = waits_for(view)
    for wait in waits:
        lines.append(("waits for", f"{wait.node} {wait.text}" if wait.node else wait.text))
    well = not waits and not (view.lost and view.lost.too_many)
    lines.append(("all is well", "yes" if well else "no"))
    return lines, well


def _up(node: Node) -> int:
    return sum(opinion.state == "up" for opinion in node.opinions)


def _span(seconds: float) -> str:
    """Return a time in the largest unit of which it has more than two."""
    for unit, name in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} s"


def _kept(live: list[Worker]) -> int:
    """Return how many sessions hosts alone have; all workers of a host count the same folder."""
    own, by_host = 0, dict[str, int]()
    for worker in live:
        dirty = worker.dirty or 0
        if worker.host is None or (worker.local and worker.local.kind == "simple"):
            own += dirty
        else:
            by_host[worker.host] = max(by_host.get(worker.host, 0), dirty)
    return own + sum(by_host.values())


def _lost(view: Snapshot) -> str:
    """Return how many sessions were lost, of how many, and why."""
    found = view.lost
    if found is None or not found.lost:
        return "0 in 15 min"
    why = [
        f"{count} {text}"
        for count, text in (
            (found.key_unknown, "signed with a key that is not known here"),
            (found.not_found, "not found"),
            (found.not_known, "whose nodes cannot be asked"),
        )
        if count
    ]
    verdict = ": too many" if found.too_many else ""
    asked = f"of about {found.asked} asked for"
    return f"{found.lost} in 15 min {asked}, {', '.join(why)}{verdict}"


def _not_stored(view: Snapshot) -> str:
    """Return how many attributes could not be stored, and which one was the last."""
    seen = [entry for entry in view.blacklist if entry.last_seen is not None]
    text = f"{view.blacklist_total} attributes, see flask msm blacklist"
    if not seen:
        return text
    last = max(seen, key=lambda entry: entry.last_seen or 0.0)
    where = f" in endpoint {quoted(last.endpoint)}" if last.endpoint else ""
    ago = _span(view.at - (last.last_seen or 0.0))
    return f"{text}; the last one {quoted(last.attribute or '')}{where}, {ago} ago"


def _failing(live: list[Worker]) -> str:
    """Return what is wrong with local storage, and for how many workers; empty if nothing is."""
    found = [worker.local.error for worker in live if worker.local and worker.local.error]
    return f"fails for {len(found)} of {len(live)} workers: {found[0]}" if found else ""


def _cramped(live: list[Worker]) -> list[str]:
    """Return which hosts have room for fewer sessions than they may keep, and what to do."""
    rooms: dict[tuple[int, int], set[str]] = {}
    for worker in live:
        local = worker.local
        if local is None or local.kind != "filesystem" or not local.limit_bytes:
            continue
        room = local.limit_bytes // FILE_TAKES
        if room < (local.limit_sessions or 0):
            hosts = rooms.setdefault((local.limit_bytes, room), set())
            hosts.add(worker.host or "unknown host")
    return [
        f"{room:,} sessions at most on {', '.join(sorted(hosts))}: {size // 2**20} MB, and each"
        f" takes {FILE_TAKES // 1024} kB at least; see MSM_LOCAL_MAX_BYTES, MSM_LOCAL_DIR, or"
        " --shm-size of Docker"
        for (size, room), hosts in sorted(rooms.items())
    ]


def _way(view: Snapshot) -> str:
    if view.observer.source == "fleet":
        return "through the nodes"
    return "of this host only: no node can be reached"


def node_rows(view: Snapshot, report: Report) -> list[dict[str, Any]]:
    """Return one row for each node."""
    found = {finding.node: finding for finding in report.nodes}
    workers = len(reporting(view))
    return [
        {
            "node": node.id,
            "text": found[node.id].text,
            "up": found[node.id].up,
            "seen_up": f"{_up(node)}/{workers}",
            "items": node.stats.items if node.stats else None,
            "evictions": node.stats.evictions if node.stats else None,
        }
        for node in view.nodes
    ]


def worker_rows(view: Snapshot) -> list[dict[str, Any]]:
    """Return one row for each worker."""
    return [
        {
            "worker": worker.id,
            "status": "gone" if worker.gone else "stale" if worker.stale else "live",
            "mode": worker.mode or "unknown",
            "age": round(max(0.0, view.at - (worker.last_heard or 0.0)), 1),
            "version": worker.version,
            "dirty": worker.dirty,
        }
        for worker in view.workers
    ]


def blacklist_rows(entries: Iterable[BlacklistEntry]) -> list[dict[str, Any]]:
    """Return one row for each attribute."""
    return [
        {
            "attribute": entry.attribute,
            "type": entry.type_name,
            "path": entry.path,
            "count": entry.count,
            "workers": len(entry.workers),
            "pinned": entry.pinned,
            "added_by": entry.added_by,
        }
        for entry in entries
    ]


def event_line(event: Event) -> str:
    """Return an event with its time."""
    return f"{iso(event.at)} {event.level:<7} {event.text}"


def history_lines(found: History) -> list[str]:
    """Return outages and changes, oldest first, and what can be summed up."""
    rows = [(outage.begin, _outage_line(outage)) for outage in found.outages]
    for change in found.changes:
        why = f" ({change.why})" if change.why else ""
        rows.append((change.at, f"{iso(change.at)} change  {change.text}, by {change.who}{why}"))
    points = [point for point in found.points if point is not None]
    lost = [point.lost for point in points if point.lost is not None]
    kept = [point.kept for point in points if point.kept is not None]
    failed = sum(point.failed or 0 for point in points)
    known = f"known for {len(points)} of {len(found.points)} steps of {found.step:.0f} s"
    counted = f"{_counted(sum(lost) if lost else None)} sessions lost, "
    counted += f"{_counted(max(kept, default=None))} kept on hosts at a time at most"
    last = f"since {iso(found.begin)}: {len(found.outages)} outages, {counted},"
    slowest = [f"at most {class_of(point.p95)} ms" for point in points if point.p95 is not None]
    hit_ratios = [
        f"{percent(point.hit_ratio)} %" for point in points if point.hit_ratio is not None
    ]
    return [
        *(text for _, text in sorted(rows)),
        f"time per request, 95 of 100: {_trend(slowest)}",
        f"sessions found: {_trend(hit_ratios)}",
        f"{last} {failed} operations failed ({known})",
    ]


def _counted(count: int | None) -> str:
    return "an unknown number of" if count is None else str(count)


def _trend(values: Sequence[str]) -> str:
    """Return how it was, in the middle, and how it is: whether it gets worse."""
    if not values:
        return "not known"
    middle = values[len(values) // 2]
    return f"{values[0]} at first, {middle} in the middle, {values[-1]} at last"


def _outage_line(outage: Outage) -> str:
    nodes = ", ".join(outage.nodes) or "no node"
    end = "goes on" if outage.end is None else f"until {iso(outage.end)}"
    why = f" ({outage.why})" if outage.why else ""
    return f"{iso(outage.begin)} outage  {nodes}{why}, {end}, {_counted(outage.lost)} sessions lost"


def session_lines(found: SessionFacts) -> list[str]:
    """Return what is known of a session: where it is and how old, never what is in it."""
    lines = [
        ("session", found.ref + (" has ended" if found.destroyed else "")),
        ("kept on", ", ".join(found.holders) or "no node"),
        ("belongs on", ", ".join(found.home_nodes)),
        ("older on", ", ".join(found.behind)),
        ("on this host", {True: "yes", False: "no"}.get(found.local)),  # type: ignore[arg-type]
        ("began", _moment(found.created)),
        ("last written", _moment(found.renewed)),
        ("ends unused", _moment(found.expires_at)),
        ("size", None if found.size is None else f"{found.size} bytes"),
        ("attributes", ", ".join(name for name, _ in found.attributes)),
    ]
    return [f"{name:<14} {text}" for name, text in lines if text]


def _moment(at: float | None) -> str | None:
    return None if at is None else iso(at)


def fact_rows(rows: list[dict[str, Any]]) -> list[str]:
    """Return *rows* as an aligned table with a line of names."""
    if not rows:
        return []
    names = list(rows[0])
    cells = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
