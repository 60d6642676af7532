"""Snapshots of fleets in trouble and out of it, for what shows them."""

from __future__ import annotations

import math
from dataclasses import replace

from flask_msm.operations.losses import Copies, Lost, NodeCopies
from flask_msm.operations.snapshot import (
    BlacklistEntry,
    Choice,
    Drain,
    Event,
    LocalStorage,
    Node,
    Observer,
    Opinion,
    Rebuild,
    Snapshot,
    Worker,
)
from flask_msm.operations.statistics import Histogram, NodeStats, Traffic


#: 2026-11-20 20:54:24 UTC.
NOW = 1795208064.0
BOUNDS = (0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
DAY = 86400.0


def wave(middle, spread, *, seed=1, steps=30, end=None):
    """Return a lively series; ``None`` from step *end* on."""
    values = [
        middle + spread * (math.sin(seed + i * 0.9) + 0.6 * math.sin(seed * 3 + i * 2.3)) / 1.6
        for i in range(steps)
    ]
    return tuple(v if end is None or i < end else None for i, v in enumerate(values))


def workers_of(hosts=2, each=4, *, at=NOW):
    found = []
    for host in range(1, hosts + 1):
        for number in range(each):
            pid = (2208 if host == 1 else 11209 + 20 * (host - 2)) + 2 * number
            found.append(
                Worker(
                    id=f"web-{host}:{pid}",
                    host=f"web-{host}",
                    pid=pid,
                    version="0.1.0",
                    started=at - 3 * 3600,
                    last_heard=at - 1,
                    mode="distributed",
                    mode_since=at - 2580,
                    policy="blacklist",
                    control="112",
                    live=0,
                    mirrored=340 + 7 * number,
                    dirty=0,
                    local=LocalStorage(kind="filesystem", sessions=1400, bytes=2_400_000, dirty=0),
                    traffic=Traffic(
                        hits=46000, misses=600, failed=0, operations_series=wave(1545, 90)
                    ),
                )
            )
    return tuple(found)


def node(number, *, items=184_220, share=0.61, latency=0.0014, ratio=0.991, workers=(), at=NOW):
    return Node(
        id=f"n{number}",
        address=f"10.0.4.{10 + number}:11211",
        state="up",
        trusted=True,
        since=at - 2580,
        phase="up",
        phase_since=at - 2580,
        opinions=tuple(
            Opinion(worker=worker.id, state="up", timeouts=0, breaks=0) for worker in workers
        ),
        stats=NodeStats(
            at=at - 2,
            version="1.6.38",
            uptime=40 * DAY,
            items=items,
            bytes=int(share * 2_147_483_648),
            limit_bytes=2_147_483_648,
            hits=91_220_311,
            misses=1_203_114,
            hit_ratio=ratio,
            evictions=0,
            evictions_per_minute=0.0,
            evicted_unfetched=0,
            expired_unfetched=40_122,
            connections=72,
            max_connections=1024,
            refused_connections=0,
            latency=latency * 0.8,
            latency_p50=latency * 0.5,
            latency_p95=latency,
            latency_p99=latency * 3,
            latencies=wave(latency, latency * 0.06, seed=number),
        ),
    )


def event(number, at, level, kind, text, **more):
    return Event(id=f"web-1:2210-{number}", at=at, level=level, kind=kind, text=text, **more)


def copies(at, *, down=0):
    """Return what was counted of 48,210 sessions on three nodes, the last ones of them down."""
    first = (16_110, 16_050, 16_050)[: 3 - down]
    return Copies(
        at=at - 20,
        sessions=48_210,
        one_copy=0 if not down else 16_083,
        nodes=tuple(
            NodeCopies(
                node=f"n{number}",
                first=count,
                further=count + 90 * number if not down else count // 2,
                only=count // 2 if down else 0,
            )
            for number, count in enumerate(first, 1)
        ),
    )


def all_well(*, at=NOW, hosts=2, each=4, nodes=3):
    workers = workers_of(hosts, each, at=at)
    all_workers = tuple(worker.id for worker in workers)
    shape = [
        (184_220, 0.61, 0.0014, 0.991),
        (251_940, 0.66, 0.0021, 0.978),
        (179_833, 0.59, 0.0015, 0.989),
    ]
    return Snapshot(
        at=at,
        observer=Observer(
            worker=workers[min(1, len(workers) - 1)].id,
            host="web-1",
            version="0.1.0",
            app="shop",
            environment="production",
            source="fleet",
            gathered_at=at - 2,
            workers_known=len(workers),
            workers_seen=len(workers),
        ),
        mode="distributed",
        since=at - 2580,
        policy=Choice(
            value="blacklist",
            configured="raise",
            set_by="anna.k",
            set_at=at - 2 * DAY,
            reason="cart_pdf broke checkout",
            stamp="112",
            applied_by=len(workers),
            of=len(workers),
        ),
        on_reconnect=Choice(
            value="promote", configured="promote", applied_by=len(workers), of=len(workers)
        ),
        distribution=Choice(
            value="running", configured="running", applied_by=len(workers), of=len(workers)
        ),
        nodes=tuple(
            node(i + 1, items=a, share=b, latency=c, ratio=d, workers=workers, at=at)
            for i, (a, b, c, d) in enumerate(shape[i % 3] for i in range(nodes))
        ),
        workers=workers,
        blacklist=blacklist(at, all_workers),
        events=(
            event(
                3,
                at - 2580,
                "info",
                "node_up",
                "n2 is up again",
                detail="It was down for 18 s, 212 sessions were copied back",
                node="n2",
                workers=all_workers,
            ),
            event(
                2,
                at - 5182,
                "info",
                "blacklisted",
                "Attribute _trace_cb was blacklisted",
                detail="PicklingError in view checkout.trace",
            ),
            event(
                1,
                at - 2 * DAY,
                "info",
                "policy_changed",
                "Failure policy changed from Raise to Blacklist",
                actor="anna.k",
                reason="cart_pdf broke checkout",
            ),
        ),
        traffic=Traffic(
            loads=Histogram(
                bounds=BOUNDS, counts=(400, 90_000, 80_000, 60_000, 9_000, 400, 20, 3, 1, 0)
            ),
            saves=Histogram(
                bounds=BOUNDS, counts=(0, 9_000, 60_000, 58_000, 3_000, 80, 10, 1, 0, 0)
            ),
            hits=368_000,
            misses=4_850,
            failed=0,
            operations_series=wave(12_360, 900),
            hit_ratio_series=wave(0.987, 0.001),
            p95_series=wave(0.0019, 0.0001, seed=4),
            failed_series=(0.0,) * 30,
        ),
        local=LocalStorage(
            kind="filesystem",
            sessions=1400,
            bytes=2_400_000,
            dirty=0,
            limit_sessions=50_000,
            limit_bytes=256_000_000,
        ),
        lost=Lost(asked=71_940),
        copies=copies(at),
        replicas=2,
        interval=2.0,
        blacklist_total=3,
        events_total=3,
    )


def blacklist(at, workers):
    return (
        BlacklistEntry(
            attribute="cart_pdf",
            type_name="reportlab.pdfgen.canvas.Canvas",
            path="cart_pdf",
            error="TypeError",
            reason="cannot pickle '_io.BytesIO' object",
            endpoint="checkout.pay",
            first_seen=at - 2 * DAY,
            last_seen=at - 22,
            count=1932,
            workers=workers,
            added_by="blacklist",
        ),
        BlacklistEntry(
            attribute="upload",
            type_name="werkzeug.datastructures.FileStorage",
            path="upload.file",
            error="TypeError",
            reason="cannot pickle 'BufferedRandom' instances",
            endpoint="account.index",
            first_seen=at - DAY,
            last_seen=at - 660,
            count=87,
            workers=workers[:3],
            added_by="blacklist",
        ),
        BlacklistEntry(
            attribute="_trace_cb",
            type_name="builtins.function",
            path="_trace_cb",
            error="PicklingError",
            reason="Can't pickle local object 'trace.<locals>.cb'",
            endpoint="checkout.trace",
            first_seen=at - 5182,
            last_seen=at - 3700,
            count=4,
            workers=workers[:1],
            added_by="anna.k",
            pinned=True,
        ),
    )


def downed(found, at, *, error, since, retry):
    return replace(
        found,
        state="down",
        since=since,
        phase="down",
        phase_since=since,
        error=error,
        error_at=at - 3,
        failures=9,
        retry_at=at + retry,
        opinions=tuple(o._replace(state="down", error=error, breaks=9) for o in found.opinions),
        stats=replace(
            found.stats, at=since, latencies=wave(0.0015, 0.0001, steps=21) + (None,) * 9
        ),
    )


def node_down(*, at=NOW, **size):
    """One node is down, another one evicts, one worker reaches nothing."""
    snapshot = all_well(at=at, **size)
    n1, n2, n3, *rest = snapshot.nodes
    since = at - 373
    n3 = downed(n3, at, error="NodeUnreachableError: Connection refused", since=since, retry=11)
    n2 = replace(
        n2,
        stats=replace(
            n2.stats,
            items=318_877,
            bytes=int(0.95 * 2_147_483_648),
            hit_ratio=0.952,
            evictions=4211,
            evictions_per_minute=14.0,
        ),
    )
    n1 = replace(
        n1, stats=replace(n1.stats, items=241_806, bytes=int(0.76 * 2_147_483_648), hit_ratio=0.97)
    )
    lone = replace(snapshot.workers[-1], mode="local", mode_since=at - 307, dirty=38)
    n1, n2 = (
        replace(
            n,
            opinions=(
                *n.opinions[:-1],
                n.opinions[-1]._replace(
                    state="down", error="NodeBusyError: timed out after 250 ms"
                ),
            ),
        )
        for n in (n1, n2)
    )
    all_workers = tuple(worker.id for worker in snapshot.workers)
    return replace(
        snapshot,
        nodes=(n1, n2, n3, *rest),
        copies=copies(at, down=1),
        workers=(*snapshot.workers[:-1], lone),
        since=at - 2580,
        traffic=replace(
            snapshot.traffic,
            failed=2,
            hits=361_000,
            misses=14_650,
            hit_ratio_series=wave(0.987, 0.001, steps=20) + wave(0.961, 0.004, steps=10),
            failed_series=(0.0,) * 20 + (2.0,) + (0.0,) * 9,
        ),
        events=(
            event(
                7,
                at - 159,
                "warning",
                "evicting",
                "n2 started to evict live sessions",
                detail="Memory 95 % full after n3's sessions moved here",
                node="n2",
            ),
            event(
                6,
                at - 307,
                "warning",
                "mode_changed",
                f"Worker {lone.id} keeps its sessions on its host",
                detail="n1 and n2 timed out from this worker only",
            ),
            event(
                5,
                at - 372,
                "warning",
                "retry_burst",
                "2 saves failed, 35 were retried on n1 and n2",
                detail="Failed in checkout.pay and account.index",
            ),
            event(
                4,
                since,
                "error",
                "node_down",
                "n3 went down",
                detail="Connection refused",
                node="n3",
                workers=all_workers,
            ),
            *snapshot.events[1:],
        ),
        events_total=6,
    )


def all_down(*, at=NOW):
    snapshot = all_well(at=at)
    since = at - 365
    nodes = tuple(
        downed(n, at, error="NodeBusyError: Timed out after 250 ms", since=since, retry=3 * (i + 1))
        for i, n in enumerate(snapshot.nodes)
    )
    here = [worker for worker in snapshot.workers if worker.host == "web-1"]
    workers = tuple(replace(w, mode="local", mode_since=since + 2, dirty=694) for w in here)
    nodes = tuple(replace(n, opinions=n.opinions[: len(here)]) for n in nodes)
    names = tuple(worker.id for worker in workers)
    return replace(
        snapshot,
        mode="local",
        since=since,
        observer=replace(
            snapshot.observer, source="host", workers_seen=4, workers_known=8, gathered_at=at - 2
        ),
        nodes=nodes,
        workers=workers,
        policy=replace(snapshot.policy, applied_by=4, of=4),
        traffic=replace(
            snapshot.traffic,
            loads=None,
            saves=None,
            hits=0,
            misses=0,
            failed=0,
            kept_locally=5110,
            hit_ratio_series=wave(0.987, 0.001, end=20),
            p95_series=wave(0.0019, 0.0001, seed=4, end=20),
        ),
        local=replace(snapshot.local, dirty=694),
        events=(
            event(
                11,
                at - 363,
                "error",
                "mode_changed",
                "All workers of web-1 keep their sessions on their host",
                detail="No memcached node answers",
                workers=names,
            ),
            *(
                event(
                    10 - i,
                    since,
                    "error",
                    "node_down",
                    f"n{3 - i} went down",
                    detail="Timed out after 250 ms",
                    node=f"n{3 - i}",
                    workers=names,
                )
                for i in range(3)
            ),
            snapshot.events[1],
        ),
    )


def stopped(*, at=NOW):
    snapshot = all_well(at=at)
    choice = Choice(
        value="stopped",
        configured="running",
        set_by="anna.k",
        set_at=at - 363,
        reason="moving n1 to 1.6.38, back in 20 min",
        stamp="113",
        applied_by=8,
        of=8,
    )
    return replace(
        snapshot,
        mode="stopped",
        since=at - 363,
        distribution=choice,
        workers=tuple(replace(w, mode="stopped", mode_since=at - 362) for w in snapshot.workers),
        events=(
            event(
                4,
                at - 363,
                "info",
                "distribution_changed",
                "Distribution stopped for the whole fleet",
                actor="anna.k",
                reason=choice.reason,
            ),
            *snapshot.events[1:],
        ),
    )


def empty(*, at=NOW):
    """One worker, no session yet."""
    snapshot = all_well(at=at, hosts=1, each=1)
    worker = replace(
        snapshot.workers[0], started=at - 31, mode_since=at - 31, traffic=None, mirrored=0
    )
    return replace(
        snapshot,
        since=at - 31,
        workers=(worker,),
        traffic=None,
        lost=None,
        copies=None,
        blacklist=(),
        blacklist_total=0,
        events=(),
        events_total=0,
        local=replace(snapshot.local, sessions=0, bytes=0),
        policy=Choice(value="raise", configured="raise", applied_by=1, of=1),
    )


def partial(*, at=NOW):
    """Some workers did not report, one node was never seen, one gives no statistics."""
    snapshot = all_well(at=at)
    n1, n2, _ = snapshot.nodes
    workers = (
        *snapshot.workers[:4],
        replace(snapshot.workers[4], stale=True, last_heard=at - 9),
        replace(snapshot.workers[5], gone=True, last_heard=at - 400, version="0.0.9"),
    )
    return replace(
        snapshot,
        observer=replace(snapshot.observer, workers_seen=5, workers_known=8),
        nodes=(
            replace(
                n1,
                stats=None,
                stats_error="the node answered ERROR to stats",
                opinions=n1.opinions[:6],
            ),
            replace(
                n2,
                trusted=False,
                phase="filling",
                phase_since=at - 60,
                rebuild=Rebuild(
                    worker="web-1:2208",
                    looked_at=81_200,
                    copied=40_100,
                    total=251_940,
                    began=at - 60,
                ),
            ),
            Node(id="n3", address="10.0.4.13:11211"),
        ),
        workers=workers,
        policy=replace(snapshot.policy, applied_by=3, of=5),
    )


def draining(*, at=NOW):
    snapshot = all_well(at=at)
    n1, n2, n3 = snapshot.nodes
    out = replace(
        n2,
        state="draining",
        phase="drained",
        phase_since=at - 40,
        stamp="77",
        drain=Drain(value="draining", set_by="anna.k", set_at=at - 40, reason="more memory"),
        rebuild=Rebuild(worker="web-1:2208", looked_at=900, copied=700, began=at - 30),
    )
    return replace(snapshot, nodes=(n1, out, n3))


def large(*, at=NOW):
    """50 nodes, 200 workers."""
    return node_down(at=at, hosts=20, each=10, nodes=50)


def lost(*, at=NOW):
    """Every node is up, and users are signed out: SECRET_KEY was changed."""
    return replace(
        all_well(at=at),
        lost=Lost(
            lost=2318,
            key_unknown=2311,
            not_found=7,
            refused=12,
            expired=40,
            ended=25,
            asked=2402,
            since=at - 610,
        ),
    )


SCENES = {
    "all_well": all_well,
    "node_down": node_down,
    "all_down": all_down,
    "stopped": stopped,
    "empty": empty,
    "partial": partial,
    "draining": draining,
    "lost": lost,
}
