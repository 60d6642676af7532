"""The state document: all that a dashboard or a command line shows, in one immutable snapshot.

Plain data, made by the console and read by what shows it. What is not known is ``None``, never
0 and never a guess. Times are floats in seconds since the epoch, durations and latencies floats in
seconds, sizes whole bytes, ratios between 0 and 1. Stamps are strings: they are too large for
JavaScript, and may only be compared. Texts come from the network: they are bounded, and have to be
escaped before they are shown. There is no value of a session in here, no session id and no cookie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from flask_msm.cluster.conditions import Condition
from flask_msm.cluster.phases import PhaseName

from .losses import Copies, Lost
from .statistics import NodeStats, Traffic


NodeStateName = Literal["up", "suspect", "recovering", "draining", "drained", "down"]
Mode = Literal["distributed", "local", "stopped"]
Level = Literal["info", "warning", "error"]
Source = Literal["fleet", "host", "self"]
Fate = Literal["lives", "ended", "moved", "expired", "lost", "key_unknown"]


class Opinion(NamedTuple):
    """How one worker sees one node: of large fleets there are tens of thousands.

    Attributes:
        trusted: Whether it accepts "missing" from the node.
        error: Class and reason of the last failure.
        failures: Failures in a row.
        retry_at: When it asks a node that is down again.
        timeouts: How often it waited in vain since it was started, requests and probes.
        breaks: How often the node refused, closed or could not be reached.
        down_at: When it last saw the node not up, since it was started.
        lacking_at: When it last knew the node to lack sessions, since it was started.
    """

    worker: str
    state: NodeStateName
    trusted: bool = True
    since: float | None = None
    error: str | None = None
    failures: int = 0
    retry_at: float | None = None
    timeouts: int | None = None
    breaks: int | None = None
    down_at: float | None = None
    lacking_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """Copying sessions to a node that lacks some, or away from one that is drained.

    Attributes:
        looked_at: Sessions compared so far.
        copied: Sessions written so far.
        total: Sessions to compare; ``None`` when that is not known.
    """

    worker: str | None = None
    looked_at: int = 0
    copied: int = 0
    total: int | None = None
    began: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """An operator took a node out of use.

    Attributes:
        value: ``draining`` while it is read and copied away, then ``drained``.
        reason: Why, in their words.
    """

    value: Literal["draining", "drained"]
    set_by: str | None = None
    set_at: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One memcached, as the fleet sees it.

    Attributes:
        address: ``host:port`` or the path of a socket; ``None`` when that is hidden.
        state: The drain if there is one, else what most workers see, the worse one on a tie;
            ``None`` when no worker has seen it yet.
        trusted: Whether the fleet accepts "missing" from it; a node that is up and not trusted is
            being rebuilt, or waits for it.
        since: Since when it is in that state.
        phase: What it is in one word: ``up``, ``filling`` (it answers, and lacks sessions, or did
            until a moment ago), ``down``, ``drained``, or ``unreached`` (some workers do not reach
            it, and most do).
        phase_since: Since when, as far as that is known.
        opinions: How each worker sees it, by name of the worker.
        error: Class and reason of the last failure, the newest of all workers.
        failures: Failures in a row, the most of all workers.
        retry_at: When it is asked again, the earliest of all workers.
        stats: The newest statistics, however old.
        stats_error: Why there are none, in words.
        stamp: What ``drain`` and ``undrain`` take as ``based_on``.
        failover_only: Whether it is used only when others fail.
        slow: Whether most workers wait long for it, and not for the other nodes.
    """

    id: str
    address: str | None = None
    state: NodeStateName | None = None
    trusted: bool | None = None
    since: float | None = None
    phase: PhaseName | None = None
    phase_since: float | None = None
    opinions: tuple[Opinion, ...] = ()
    error: str | None = None
    error_at: float | None = None
    failures: int = 0
    retry_at: float | None = None
    stats: NodeStats | None = None
    stats_error: str | None = None
    rebuild: Rebuild | None = None
    drain: Drain | None = None
    stamp: str = "0"
    failover_only: bool = False
    slow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStorage:
    """What a host (or, with ``simple``, a process) keeps itself.

    Attributes:
        kind: ``filesystem``, ``simple``, or the class of a cache of the application.
        dirty: Sessions in it with changes the cluster does not have.
        error: Why it fails; ``None`` while it works.
    """

    kind: str
    sessions: int | None = None
    bytes: int | None = None
    dirty: int | None = None
    limit_sessions: int | None = None
    limit_bytes: int | None = None
    error: str | None = None


#: What a worker counts from its start on, and what that means.
COUNTED = {
    "conflicts": "Writes that met another writer of the same session and were joined with it.",
    "written_back": "Reads that found copies apart and brought them together.",
    "fewer_copies": "Writes that found fewer nodes than there shall be copies.",
    "relocated": "Writes that had to use another node than a home of the session.",
    "not_stored": "Writes that no node took; local storage did, unless it failed as well.",
    "stale_served": "Reads that found nothing as new as the cookie asked for.",
    "queued": "Copies that were made behind the response.",
    "fast_reads": "Reads that took the fast path.",
    "other_reads": "Reads of sessions that go on that did not: something was not as on a good day.",
    "fast_writes": "Changes that took the fast path.",
    "other_writes": "Changes that did not, except the first and the last of a session.",
    "kept_late": "Changes kept on the host because nodes did not take them in time.",
    "mirror_dropped": "Copies for local storage that were left out because too many waited.",
    "journals_taken_over": "Journals of workers that ended without handing over what was in them.",
    "journal_damaged": "Places in such journals that were damaged and not used.",
    "corrupt": "Records that were damaged and not used.",
    "unknown_records": "Records of another secret or a newer version, which were left alone.",
    "detached": "Sessions that no store could be asked for.",
    "dropped_after_logout": "Changes of requests that ended after the session had.",
    "dropped_frozen": "Changes of requests that came too late for the id they were sent with.",
    "followed": "Changes sent with the id from before a regenerate(), brought to the new one.",
    "refreshed": "Sessions whose life was prolonged without a change.",
    "unexpected": "Errors that should not happen: please report them with the log.",
    "refused": "Saves that failed because an attribute cannot be stored.",
    "stored_as_none": "Attributes that were stored as None.",
    "kept_local": "Attributes that stayed in this process.",
    "stops_asked": "Times that distribution was to be stopped because of an attribute.",
    "clock_ahead": "Stamps of another host whose clock is more than a minute ahead of this one.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process.

    Attributes:
        id: Its name in the fleet.
        last_heard: When its report was made.
        mode: Where its sessions go.
        policy: The serialization policy it obeys.
        control: The newest stamp of the operators' choices it has applied.
        stale: It was not seen for three intervals.
        gone: It was not seen for ten intervals, or signed off.
        live: Sessions with objects that exist in this process only.
        mirrored: Sessions in its local storage that the cluster has as well.
        dirty: Sessions in its local storage with changes the cluster does not have.
        local: Its local storage; workers of a host share it unless it is ``simple``.
        traffic: What its sessions did.
        counts: What happened in it since it started, by one of ``COUNTED``; what never did is
            left out.
        slow: Whether it waits long for every node: its machine is busy, or its network.
    """

    id: str
    host: str | None = None
    pid: int | None = None
    version: str | None = None
    started: float | None = None
    last_heard: float | None = None
    mode: Mode | None = None
    mode_since: float | None = None
    policy: str | None = None
    control: str | None = None
    stale: bool = False
    gone: bool = False
    live: int | None = None
    mirrored: int | None = None
    dirty: int | None = None
    local: LocalStorage | None = None
    traffic: Traffic | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    slow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A setting that operators may change at run time.

    Attributes:
        value: What holds now.
        set_by: Operator who chose *value*; ``None`` while the configuration holds.
        reason: Why, in their words.
        stamp: What a command passes as ``based_on``; ``"0"`` when it was never chosen.
        applied_by: Workers that report to obey this stamp (or a later one).
        of: Workers that could be asked: those seen and not gone.
    """

    value: str
    configured: str
    set_by: str | None = None
    set_at: float | None = None
    reason: str | None = None
    stamp: str = "0"
    applied_by: int | None = None
    of: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A known outage: alerts do not tell of it for a time.

    Attributes:
        node: Id of the node it is about, ``None`` for the whole fleet.
        until: When it ends.
        note: What is done meanwhile, for the next person.
        stamp: What a command passes as ``based_on``.
    """

    node: str | None
    until: float
    note: str
    set_by: str | None = None
    set_at: float | None = None
    stamp: str = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlacklistEntry:
    """An attribute that could not be stored, or is pinned. Never a value nor its ``repr``.

    Attributes:
        type_name: Qualified name of the type; ``None`` for a pin nothing was seen of.
        path: Where in the session it was found last.
        reason: Why, in words; ``None`` when that is hidden.
        endpoint: Endpoint of the request that met it last.
        count: How often, all workers.
        added_by: The policy that entered it, or the operator or setting that pinned it.
        pinned: Whether it is always stored as ``None``, without trying.
        from_config: Whether ``MSM_BLACKLIST`` pins it, so that it cannot be unpinned here.
    """

    attribute: str | None
    type_name: str | None = None
    path: str | None = None
    error: str | None = None
    reason: str | None = None
    endpoint: str | None = None
    first_seen: float | None = None
    last_seen: float | None = None
    count: int = 0
    workers: tuple[str, ...] = ()
    added_by: str | None = None
    pinned: bool = False
    from_config: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, merged over the workers that saw it.

    Attributes:
        id: Unique in the fleet and safe in a URL (letters, digits, ``_``, ``.``, ``:``, ``-``).
        workers: Names of the workers that saw it.
        reason: Why, in their words.
        before: What held until then, if something was changed.
        after: What holds since then.
        result: What became of it: which nodes received it.
    """

    id: str
    at: float
    level: Level
    kind: str
    text: str
    detail: str | None = None
    node: str | None = None
    workers: tuple[str, ...] = ()
    actor: str | None = None
    reason: str | None = None
    before: str | None = None
    after: str | None = None
    result: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """The worker that looked, and how much of the fleet could be seen.

    Attributes:
        source: ``fleet``: through memcached; ``host``: memcached does not answer, only workers of
            this host are seen; ``self``: only this worker is seen.
        gathered_at: When reports of the others were collected last.
        workers_known: Workers that are known to live, seen or not.
        workers_seen: Workers among them whose reports are in the snapshot.
    """

    worker: str
    host: str
    version: str
    app: str
    environment: str | None = None
    source: Source = "self"
    gathered_at: float | None = None
    workers_known: int | None = None
    workers_seen: int = 1

    @property
    def complete(self) -> bool:
        """Whether every worker that is known to live is in the snapshot."""
        return self.source == "fleet" and self.workers_seen >= (self.workers_known or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What is known of one stored session: where and how, never what is in it.

    Attributes:
        ref: Its public name: the first ten hexadecimal digits of its storage key.
        handle: Names it for ``revoke``, and for nothing else; safe in a form.
        home_nodes: Ids of the nodes that shall hold it, first one first.
        holders: Ids of the nodes that hold it now.
        behind: Ids of those among them whose copy is older.
        local: Whether local storage of this host has it.
        expires_at: When it ends if it is not used before.
        destroyed: Whether it was ended: what is stored is the mark of that.
        attributes: Names of its attributes and the types they are stored as, if known.
        fate: What became of it. *lost*: its cookie is good, and nothing of it is left;
            *key_unknown*: nodes have it, signed with a key that is not known here.
        ended_at: When it ended, or got a new id.
        ended_how: What ended it: *signed out*, or *revoked*.
        ended_by: Who did, if that was not its own browser.
        ended_reason: Why, in their words.
        moved_to: The ref of its new id.
    """

    ref: str
    handle: str
    version: str | None = None
    home_nodes: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    local: bool | None = None
    size: int | None = None
    created: float | None = None
    renewed: float | None = None
    expires_at: float | None = None
    destroyed: bool = False
    attributes: tuple[tuple[str, str | None], ...] = ()
    fate: Fate = "lives"
    ended_at: float | None = None
    ended_how: str | None = None
    ended_by: str | None = None
    ended_reason: str | None = None
    moved_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything, at one moment.

    Attributes:
        mode: What most workers do, the worse one on a tie.
        since: Since when the first of them does.
        on_reconnect: What happens to local changes when the cluster returns.
        distribution: ``running`` or ``stopped``.
        workers: By host and process.
        blacklist: Last seen first.
        events: Newest first.
        traffic: Of all workers that were seen; ``None`` when no request was counted yet.
        window: Length of the window in seconds.
        step: Length of one step of a series in seconds.
        local: Local storage of the observer's host.
        lost: Cookies that found no session, in the window; ``None`` without a cluster.
        copies: How many sessions have one copy only, as it was counted last; ``None`` while it was
            not.
        replicas: Copies of each session.
        interval: Time in seconds between two reports of a worker; 0 when there are none.
        blacklist_total: Entries there are, *blacklist* may be cut.
        events_total: Events there are, *events* may be cut.
        conditions: What is wrong for a while, oldest first.
        silences: What alerts do not tell of now.
    """

    at: float
    observer: Observer
    mode: Mode
    since: float | None = None
    policy: Choice
    on_reconnect: Choice
    distribution: Choice
    nodes: tuple[Node, ...] = ()
    workers: tuple[Worker, ...] = ()
    blacklist: tuple[BlacklistEntry, ...] = ()
    events: tuple[Event, ...] = ()
    traffic: Traffic | None = None
    window: float = 900.0
    step: float = 30.0
    local: LocalStorage | None = None
    lost: Lost | None = None
    copies: Copies | None = None
    replicas: int = 1
    interval: float = 0.0
    blacklist_total: int = 0
    events_total: int = 0
    conditions: tuple[Condition, ...] = ()
    silences: tuple[Silence, ...] = ()
