"""The composition root: puts the parts together, here and in ``*_assembly.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_msm.cluster.events import Events
from flask_msm.memcached.client import MemcachedNode
from flask_msm.process.background import Background
from flask_msm.record.hybrid_clock import StampClock
from flask_msm.sessions.repository import Repository, Rules
from flask_msm.storage.local.backend import Shelves
from flask_msm.storage.local.folder import folder_name, node_marks
from flask_msm.storage.local.store import LocalStore

from .cluster.mode import Mode
from .cluster.placement import Placement
from .cluster_assembly import ClusterParts, assemble_cluster, connect
from .needs import Needs
from .record.envelope import Envelope
from .serialization_assembly import assemble_serialization


if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_msm.process.clock import Clock
    from flask_msm.settings.settings import NodeAddress, Settings
    from flask_msm.storage.store import SessionStore

    from .record.keys import Keyring


__all__ = ["ClusterParts", "Needs", "Parts", "assemble", "memcached_node"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that belongs to one application."""

    envelope: Envelope
    placement: Placement
    store: SessionStore
    local: LocalStore
    repository: Repository
    events: Events
    cluster: ClusterParts | None
    backgrounds: tuple[Background, ...]
    keys: Callable[[], Keyring]

    @property
    def mode(self) -> Mode:
        """Where sessions go now; without nodes always local storage."""
        return self.cluster.mode.mode if self.cluster else Mode.LOCAL


def assemble(needs: Needs) -> Parts:
    """Return the parts of an application. Opens no connection, starts no thread."""
    settings = needs.settings
    envelope = Envelope(
        codec_id=needs.codec.id,
        compress_above=settings.compress_above or None,
        max_size=settings.max_record_size,
        encryption=needs.encryption,
    )
    ids = [address.id for address in settings.nodes]
    placement = Placement(ids, replicas=settings.replicas, last=settings.failover_nodes)
    stamps = StampClock(needs.clock)
    events = Events(needs.clock, needs.listener)
    behind = Background("flask-msm-local", clock=needs.clock, deadline=settings.request_deadline)
    local = _local(needs, envelope, events, behind)
    store: SessionStore = local
    cluster = None
    if ids:
        store, cluster = assemble_cluster(
            needs,
            envelope=envelope,
            placement=placement,
            stamps=stamps,
            events=events,
            local=local,
            behind=behind,
        )
    repository = Repository(
        store,
        codec=needs.codec,
        stamps=stamps,
        clock=needs.clock,
        rules=Rules(
            key_prefix=settings.key_prefix,
            request_deadline=settings.request_deadline,
            absolute_timeout=settings.absolute_timeout,
            regenerate_grace=settings.regenerate_grace,
            on_unknown=settings.on_unknown,
            strict_types=settings.strict_types,
            raise_unexpected=needs.raise_unexpected,
        ),
        notify=needs.notify,
        serialization=assemble_serialization(
            needs, events, worker=(lambda: cluster.heartbeat.worker) if cluster else None
        ),
    )
    if cluster:
        connect(cluster, needs, repository, stamps=stamps, local=local, events=events)
    return Parts(
        envelope=envelope,
        placement=placement,
        store=store,
        local=local,
        repository=repository,
        events=events,
        cluster=cluster,
        backgrounds=(*(cluster.backgrounds if cluster else ()), behind),
        keys=needs.keys,
    )


def _local(needs: Needs, envelope: Envelope, events: Events, behind: Background) -> LocalStore:
    settings = needs.settings

    def trouble(reason: str | None) -> None:
        if reason is None:
            events.add("info", "local_storage_works", "local storage works again")
        else:
            where, shelf = "local storage", shelves.opened
            if shelf is not None and shelf.kind == "filesystem":
                where = f"local storage in {shelf.place}"
            events.add("error", "local_storage_failed", f"{where}: {reason}")

    ids = [address.id for address in settings.nodes]
    shelves = Shelves(
        settings.local_cache,
        base=settings.local_dir,
        name=folder_name(settings.key_prefix, ids, needs.root),
        sessions=settings.local_max_sessions,
        size=settings.local_max_bytes,
        alone=not ids,
        trouble=trouble,
        marks=node_marks(settings.key_prefix, ids, needs.root),
    )
    return LocalStore(
        shelves,
        envelope=envelope,
        max_size=settings.max_record_size,
        clock=needs.clock,
        prefix=settings.key_prefix,
        alone=not ids,
        trouble=trouble,
        later=behind.put,
    )


def memcached_node(address: NodeAddress, settings: Settings, clock: Clock) -> MemcachedNode:
    """Return the client of one node."""
    return MemcachedNode(
        address.id,
        host=address.host,
        port=address.port,
        path=address.path,
        connect_timeout=settings.connect_timeout,
        timeout=settings.timeout,
        pool_size=settings.pool_size,
        retry_attempts=settings.retry_attempts,
        retry_delay=settings.retry_delay,
        tls_context=settings.tls_context,
        auth=settings.auth,
        clock=clock,
    )
