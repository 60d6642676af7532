"""Hosts in the model: local storage that the workers of a host share, and outages of all nodes.

What has to be visible while nodes are away, and until all hosts have handed over what they kept, is
what the host that answers was known to have. Afterwards everything is, as ever.
"""

from __future__ import annotations

import atexit
from collections import deque
from contextlib import contextmanager, suppress
from itertools import count
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from unittest import mock

from support.clock import FakeClock
from support.model import (
    BOUND,
    DEADLINE,
    FAULTS,
    INTERVAL,
    KEYS,
    KINDS,
    PREFIX,
    STEP,
    VIOLATIONS,
    Browser,
    Expected,
    Task,
    Way,
    Worker,
    World,
    settings_for,
    shown,
    world,
)

from flask_msm.cluster.mode import Mode
from flask_msm.errors import RecordError
from flask_msm.record.codec.msgpack import MsgpackCodec
from flask_msm.record.keys import digest_of, storage_key
from flask_msm.record.record import BEHIND, Kind, join_optional
from flask_msm.sessions.unit_of_work import Action
from flask_msm.storage.local.backend import BackendOpener, LocalBackend
from flask_msm.storage.local.change_marks import ChangeMarks
from flask_msm.storage.local.journal_tails import JournalTails
from flask_msm.storage.local.locks import KeyLocks
from flask_msm.storage.local.store import LocalStore
from flask_msm.storage.sticky_path import StickyPath
from flask_msm.storage.write_behind import WriteBehind


OUTAGES = ("outage", "outage, back empty", "outage, hanging", "outage, some back empty")
#: Time in seconds after which hosts have handed over what they kept.
RETURN = 60.0
#: Nodes come back one after another within so many seconds.
STAGGER = 3.0
#: Time in seconds after which nodes have what a host with sticky sessions acknowledged, also when
#: the worker that was to write it died.
WRITTEN = INTERVAL + DEADLINE

VIOLATIONS |= {
    "forgotten": "a host that had a change does not show it while nodes are away or returning",
    "signed out": "a browser lost its cookie, or got another one, without having logged out",
    "overwritten": "a default took the place of what was there",
    "stuck": "what hosts kept was not handed over in time",
}


class OneAtATime(KeyLocks):
    """Locks of a host: what one worker is at, no other one begins."""

    def __init__(self) -> None:
        super().__init__()
        self._at: set[str] = set()

    @contextmanager
    def alone(self, task):
        if task in self._at:
            yield False
            return
        self._at.add(task)
        try:
            yield True
        finally:
            self._at.discard(task)


class Host:
    """What the workers of one host share.

    Attributes:
        journals: What the workers with sticky sessions acknowledged and have not handed over.
    """

    def __init__(self, number) -> None:
        self.number = number
        self._folder = TemporaryDirectory()
        self._opened: list[LocalBackend] = []
        self.shelves = BackendOpener(
            "simple",
            keys=lambda: KEYS,
            base=None,
            name="model",
            sessions=1000,
            size=None,
            clock=FakeClock(),
            alone=False,
            trouble=print,
        )
        self.shelf = self.shelves.open()._replace(
            locks=OneAtATime(), changes=Path(self._folder.name)
        )
        self.journals = JournalTails(self.shelf.changes)

    def __str__(self) -> str:
        return f"h{self.number}"

    def shelves_of_a_worker(self):
        """Return a way to the storage of this host for one worker, with marks of its own."""
        shelf = self.shelf._replace(marks=ChangeMarks(self.shelf.changes))
        self._opened.append(shelf)
        return SimpleNamespace(opened=shelf, open=lambda: shelf, make_again=lambda: None)

    def waits(self) -> bool:
        """Return whether a worker has something to hand over in its journal."""
        return any(path.suffix == ".changes" for path in self.shelf.changes.iterdir())

    def close(self) -> None:
        """Be no more."""
        for shelf in self._opened:
            shelf.marks.forget()
        self._folder.cleanup()


class Lane:
    """Stands for a ``Background``: its jobs are tasks of the world, one after another."""

    def __init__(self, worker) -> None:
        self._worker = worker
        self._jobs = deque()
        self.task = None

    @property
    def idle(self) -> bool:
        return self.task is None and not self._jobs

    def put(self, job, *, after=0.0) -> bool:
        self._jobs.append((job, self._worker.clock.monotonic() + after if after else 0.0))
        return True

    @property
    def _rests(self) -> bool:
        """Whether what comes next waits, and nothing that does not is behind it."""
        now = self._worker.clock.monotonic()
        return all(at > now for _, at in self._jobs)

    def turn(self) -> None:
        if self.task is not None and self.task.done:
            if self.task.error is not None:
                raise self.task.error
            self.task = None
        if self.task is None and self._jobs and not self._rests:
            job, _ = self._jobs.popleft()
            self.task = Task(lambda: job(self._worker.clock.monotonic() + DEADLINE))


class HostWorker(Worker):
    """A worker whose host has local storage, and whose threads are all played."""

    def __init__(self, world, number, host) -> None:
        self.host = host
        self.lanes: dict[str, Lane] = {}
        super().__init__(world, number)
        shelves = host.shelves_of_a_worker()
        self.parts.local._shelves = self.parts.local.journals._shelves = shelves

    def queue(self, name, **_):
        return self.lanes.setdefault(name, Lane(self))

    @property
    def mode(self) -> Mode:
        return self.parts.cluster.mode.mode

    @property
    def idle(self) -> bool:
        return super().idle and all(lane.idle for lane in self.lanes.values())

    def tasks(self):
        lanes = [lane.task for lane in self.lanes.values() if lane.task is not None]
        return super().tasks() + lanes

    def turn(self) -> None:
        for lane in self.lanes.values():
            lane.turn()
        super().turn()

    def die(self) -> None:
        """Hold no lock any more: what the system does when a process ends."""
        path = self.parts.cluster.fast_path
        if isinstance(path, StickyPath) and path.behind._journal is not None:
            path.behind._journal.forget()
            atexit.unregister(path.behind._at_exit)
        self.parts.local._shelves.opened.marks.forget()

    def _finished(self, task) -> None:
        if task in super().tasks():
            super()._finished(task)


class HostWorld(World):
    """A world of several hosts.

    Args:
        seed: Decides what is left to chance.
        hosts: How many hosts there are; workers are spread over them.
        routing: ``any``: requests go to any worker. ``home``: to the host of the browser, hardly
            ever to another one.
        sticky: Whether workers keep near copies (``MSM_STICKY``).
        on_reconnect: What happens to changes of an outage.
    """

    def __init__(
        self, seed, *, hosts=2, routing="any", sticky=False, on_reconnect="promote", **options
    ) -> None:
        self.hosts = [Host(number) for number in range(hosts)]
        self.routing = routing
        self.sticky = sticky
        self.drops = on_reconnect == "discard"
        self._more = {
            "MSM_MIRROR": True,
            "MSM_STICKY": sticky,
            "MSM_ON_RECONNECT": on_reconnect,
            "MSM_PROBE_MAX_BACKOFF": INTERVAL,
        }
        #: ``down`` from the moment nodes go, ``returning`` until hosts have handed over.
        self.outage = None
        self.emptied = False
        self.out_at = self.back_at = self.calm_at = 0.0
        self.coming: list[tuple[float, object]] = []
        self._pending = None
        self._codec = MsgpackCodec()
        super().__init__(seed, **options)

    # -- what the base asks for ------------------------------------------------------------------

    def settings_for(self, node_ids):
        # Of each host one worker of three does not take the fast path.
        return settings_for(node_ids, MSM_FAST_PATH=self._workers_made % 3 != 0, **self._more)

    def _worker(self, host=None) -> HostWorker:
        self._workers_made += 1
        number = self._workers_made
        return HostWorker(self, number, host or self.hosts[number % len(self.hosts)])

    def _successor(self, worker) -> HostWorker:
        return self._worker(worker.host)

    def _browser(self) -> Browser:
        browser = super()._browser()
        browser.home = self.hosts[browser.number % len(self.hosts)]
        browser.kept = {host: Expected() for host in self.hosts}
        browser.acked_on = {}
        browser.user = None
        browser.moved_at = 0.0
        return browser

    @property
    def settled(self) -> bool:
        return self.outage is None and super().settled

    def step(self, index=None) -> None:
        super().step(index)
        for item in [item for item in self.coming if item[0] <= self.now]:
            self.coming.remove(item)
            self.tell(f"{item[1].id} is back")
            item[1].come_back()
        if self.outage == "returning" and round(self.now / STEP) % 10 == 0:
            self._look_for_calm()

    def _prepare(self, request, browser) -> bool:
        if self.routing == "home" and self.chance.random() > 0.02:
            own = [w for w in self.workers if w.host is browser.home and w.ready and not w.leaving]
            if not own:
                return False
            request.worker = self.chance.choice(own)
        if not super()._prepare(request, browser):
            return False
        request.kept = Expected(browser.kept[request.worker.host])
        request.stored_here = request.unseen = False
        return True

    def _swap(self, worker) -> None:
        worker.die()
        super()._swap(worker)

    def kill(self, worker) -> None:
        super().kill(worker)
        for gone in self.gone:
            if gone.worker is worker and self.now - gone.known_at <= BOUND:
                # The nodes have it; other hosts do not know of it.
                gone.known_at = float("inf")

    def stored_here(self) -> None:
        """Take note that the request that runs has stored its change on its host."""
        task = self.baton.current
        if task is not None and task.request is not None:
            task.request.stored_here = True

    # -- outages ---------------------------------------------------------------------------------

    def break_all(self, kind) -> None:
        """Take all nodes away."""
        self.tell(f"all nodes: {kind}")
        self.counts[kind] += 1
        self.fault, self.outage, self.out_at = "all", "down", self.now
        self._empty = {
            "outage, back empty": list(self.nodes.values()),
            "outage, some back empty": self.chance.sample(list(self.nodes.values()), 2),
        }.get(kind, [])
        self._note_mirrored()
        for memory in self.nodes.values():
            memory.way = Way.HANGING if kind == "outage, hanging" else Way.REFUSED
        for memory in self._empty:
            memory.wipe()

    def heal(self) -> None:
        if self.fault != "all":
            super().heal()
            return
        self.fault, self.outage, self.back_at = None, "returning", self.now
        self.healed_at = self.now + STAGGER
        self.coming = [
            (self.now + self.chance.uniform(0.0, STAGGER), memory) for memory in self.nodes.values()
        ]
        self._pending = None
        for browser in list(self.browsers):
            self._forgive(browser)

    def _look_for_calm(self) -> None:
        """See whether every host has handed over what it had when all nodes were back."""
        settled = World.settled.fget(self) and not self.coming
        if settled and not any(w.parts.cluster.failback.is_restoring for w in self.workers):
            marked = {(host, d) for host in self.hosts for d in host.shelf.journal.digests()}
            marked |= {(host, "") for host in self.hosts if host.waits()}
            self._pending = marked if self._pending is None else self._pending & marked
            if not self._pending:
                self.tell("everything is handed over")
                self.counts["returns"] += 1
                self.outage, self.calm_at = None, self.now
                self.healed_at = self.now
                for browser in self.browsers:
                    browser.kept = {host: Expected() for host in self.hosts}
                return
        if self.now - self.back_at > RETURN:
            self.violations["stuck"] += 1
            self.tell(f"STUCK: {self._pending}")
            self.first = self.first or (len(self.story), None)
            self.back_at = self.now

    # -- what places hold ------------------------------------------------------------------------

    def _on_shelf(self, host, key):
        envelope, found = self.workers[0].parts.envelope, None
        data = host.shelf.cache.get(key)
        journaled = host.journals.find(digest_of(key))
        for sealed in [*([data[9:]] if data else []), *journaled]:
            with suppress(RecordError):
                found = join_optional(found, envelope.open(sealed, key))
        return found

    def _in_nodes(self, key):
        envelope = self.workers[0].parts.envelope
        return [memory.record(key, envelope) for memory in self.nodes.values()]

    def _shown_by(self, record, name) -> int:
        """Return the number a record shows under *name*, 0 if none."""
        value = record.attributes.alive().get(name) if record is not None else None
        return self._codec.loads(value) if value is not None else 0

    def _note_mirrored(self) -> None:
        """Take note of what each host has a copy of when the nodes go."""
        for browser in self.browsers:
            if browser.cookie is None:
                continue
            key = storage_key(PREFIX, browser.cookie.sid)
            for host in self.hosts:
                record = self._on_shelf(host, key)
                if record is None or record.kind is not Kind.DATA:
                    continue
                for name, (number, at) in browser.acknowledged.items():
                    if self._shown_by(record, name) >= number:
                        browser.kept[host].note(name, number, at)

    def _forgive(self, browser) -> None:
        """Expect nothing that no place has which is here or returns."""
        if self.drops:
            for kept in browser.kept.values():
                kept.clear()
            since = self.out_at - (WRITTEN if self.sticky else 0.0)
            self._forget(browser, lambda _, at: at >= since)
            browser.shown.clear()
            forgotten = self._empty and (
                browser.cookie is None
                or not any(self._in_nodes(storage_key(PREFIX, browser.cookie.sid)))
            )
            if forgotten or browser.user is None or browser.moved_at >= self.out_at:
                self._leave(browser)
            return
        if browser.cookie is None:
            return
        key = storage_key(PREFIX, browser.cookie.sid)
        held = [*self._in_nodes(key), *(self._on_shelf(host, key) for host in self.hosts)]
        if not any(held):
            self._leave(browser)
            return

        def is_gone(name, _):
            number = browser.acknowledged[name][0]
            kept = any(k.get(name, (0,))[0] >= number for k in browser.kept.values())
            return not kept and all(self._shown_by(one, name) < number for one in held)

        if self._empty:
            self._forget(browser, is_gone)
            browser.shown.clear()

    def _forget(self, browser, is_gone) -> None:
        for name, (_, at) in list(browser.acknowledged.items()):
            if is_gone(name, at):
                self.counts["changes no host has"] += 1
                del browser.acknowledged[name]
                if name == "user":
                    browser.user = None

    # -- answers ---------------------------------------------------------------------------------

    def _disturbed(self, request) -> bool:
        return self.outage is not None or request.began <= self.calm_at

    def _answer(self, request, unit, action) -> None:
        browser, before = request.browser, request.token
        own = request.kind in ("logout", "regenerate")
        lasting = before is not None and not browser.ending and not self._may_have_expired(request)
        replaced = action is Action.DELETE or (
            action is Action.SET
            and unit.request.token is not None
            and unit.request.token.sid != before.sid
            if before is not None
            else False
        )
        if lasting and replaced and not own and browser in self.browsers:
            if self._disturbed(request) and self._is_elsewhere_only(request):
                self.counts["not there yet"] += 1
                self._leave(browser)
            else:
                self._violated("signed out", request, action.value)
        host = request.worker.host
        acknowledged = Expected(browser.acknowledged)
        was = len(self.gone)
        super()._answer(request, unit, action)
        if request.kind == "regenerate" and (
            request.unseen or (self.drops and self._disturbed(request))
        ):
            # What this host could not see goes on under the old id; a move is dropped like others.
            del self.gone[was:]
        for gone in self.gone[was:]:
            gone.browser, gone.worker = browser, request.worker
            gone.host = host
            gone.known_at = self.now
        if browser.acknowledged != acknowledged:
            self._acknowledged(request, browser, host, acknowledged)
        moved = before is not None and browser.cookie and browser.cookie.sid != before.sid
        if moved and request.kind == "regenerate":
            # Other hosts know nothing of the new id. What this one showed goes along to it; of a
            # session that it could not see as a whole, what others change meanwhile does not.
            kept = browser.kept[host]
            if request.unseen:
                kept = Expected(kept.items() & request.kept.items())
            browser.kept = {one: Expected() for one in self.hosts}
            browser.kept[host] = kept
            browser.moved_at = self.now
            if request.unseen:
                self.counts["moved unseen"] += 1
                browser.acknowledged.clear()
                browser.shown.clear()
                browser.user = None

    def _is_apart(self, request, token) -> bool:
        return not request.unseen and super()._is_apart(request, token)

    def _is_elsewhere_only(self, request) -> bool:
        """Return whether a session that began in an outage is on another host and nowhere else.

        Trusted nodes report that there is no such session: a limit, see docs/limits.md.
        """
        key = storage_key(PREFIX, request.token.sid)
        return not any([*self._in_nodes(key), self._on_shelf(request.worker.host, key)])

    def _acknowledged(self, request, browser, host, before) -> None:
        """Take note of where a change is that was just acknowledged."""
        browser.acked_on[host] = self.now
        for name, (number, at) in list(browser.acknowledged.items()):
            if before.get(name, (0,))[0] == number:
                continue
            old = request.token is not None and request.token.sid != browser.cookie.sid
            if old and self._disturbed(request):
                # No change followed to an id that this host knew nothing of.
                del browser.acknowledged[name]
                continue
            if name == "user" and browser.user is None:
                browser.user = number
            if request.stored_here:
                self.counts["kept on a host"] += 1
                browser.kept[host].note(name, number, at)
            if self.drops and self._disturbed(request):
                del browser.acknowledged[name]

    # -- checks ----------------------------------------------------------------------------------

    def _check(self, request, unit, session) -> None:
        request.seen, request.unseen = dict(shown(session)), session._detached
        if request.gone is not None or not self._disturbed(request):
            if request.gone is None and request.browser is not None:
                self._check_user(request, shown(session))
            super()._check(request, unit, session)
            return
        self.counts["reads while disturbed"] += 1
        self.counts["detached"] += session._detached
        browser, seen = request.browser, shown(session)
        if request.token is None or browser.ending or self._may_have_expired(request):
            return
        if request.kind == "outdated" or request.token.sid != browser.cookie.sid:
            return
        if self.drops and self.outage != "down":
            return
        missing = request.kept.missing_from(seen, browser.removed)
        if missing and request.kept.items() <= browser.kept[request.worker.host].items():
            text = ", ".join(f"{name}={request.kept[name]}" for name in missing)
            self._violated("forgotten", request, f"{text}, seen {seen}")
            browser.kept[request.worker.host].clear()
        elif "user" in request.kept:
            self._check_user(request, seen)

    def _check_user(self, request, seen) -> None:
        """Check that the first value is still there: no request assigned another one."""
        browser = request.browser
        if browser.user is not None and "user" in browser.acknowledged and not browser.ending:
            found = seen.get("user", browser.user)
            if found != browser.user:
                self._violated("overwritten", request, f"user={browser.user}, seen {found}")
                browser.user = None

    def _check_survival(self, request, unit) -> None:
        digest = digest_of(unit.request.key(unit.request.token.sid))
        if request.worker.host.journals.find(digest):
            return  # it survives the loss of any node on its host, and is on its way to the nodes
        super()._check_survival(request, unit)

    def _check_gone(self, request, *, alive) -> None:
        gone = request.gone
        if self._disturbed(request):
            elsewhere = request.worker.host is not gone.host
            lately = gone.known_at > self.out_at - BOUND
            # Only ends of sessions are shared with other hosts, not moves.
            if elsewhere and (lately or gone.kind == "unended"):
                self.counts["replays"] += 1
                return
            # A host that knows nothing of the session shows what replays wrote there meanwhile.
            alive = alive and request.seen.keys() != {"late"}
        at, gone.at = gone.at, max(gone.at, self.calm_at)
        try:
            super()._check_gone(request, alive=alive)
        finally:
            gone.at = at

    def _overtaken(self, request, browser) -> bool:
        return self._elsewhere(request, browser) or super()._overtaken(request, browser)

    def _elsewhere(self, request, browser) -> bool:
        """Return whether another host may have more of a sticky session for a moment."""
        return self.sticky and any(
            host is not request.worker.host and self.now - at <= BOUND
            for host, at in browser.acked_on.items()
        )

    def _may_be_a_part(self, request) -> bool:
        """Return whether its worker may not know yet that no host keeps anything of a part."""
        held = self._in_nodes(storage_key(PREFIX, request.token.sid))
        is_part = any(record is not None and record.created >= BEHIND for record in held)
        return is_part and request.began <= self.calm_at + BOUND

    def _violated(self, kind, request, text) -> None:
        if kind == "detached" and self._elsewhere(request, request.browser):
            return
        if kind == "detached" and self._may_be_a_part(request):
            self.counts["a part for a moment"] += 1
            return
        if request.gone is not None:
            self.first = self.first or (len(self.story) + 1, request.gone.browser)
        super()._violated(kind, request, text)


@contextmanager
def watched():
    """Let worlds know which changes hosts keep."""
    write = LocalStore.write

    def told(store, key, rewrite, mark, **options):
        saved = write(store, key, rewrite, mark, **options)
        if saved.copies and HostWorld.played is not None:
            HostWorld.played.stored_here()
        return saved

    def journaled(behind, *arguments):
        added = add(behind, *arguments)
        if added and HostWorld.played is not None:
            HostWorld.played.counts["changes in a journal"] += 1
            HostWorld.played.stored_here()
        return added

    add = WriteBehind.add
    names = count()
    with (
        mock.patch(
            "flask_msm.storage.local.worker_journal.secrets",
            SimpleNamespace(token_hex=lambda _: f"{next(names):016x}"),
        ),
        # How old a file is, is not a matter of the time in the world.
        mock.patch("flask_msm.storage.local.journal_takeover.STOPPED", inf),
        mock.patch.object(LocalStore, "write", told),
        mock.patch.object(WriteBehind, "add", journaled),
    ):
        yield


HostWorld.played = None


@contextmanager
def hosts(seed, **options):
    """Make a ``HostWorld``."""
    with watched(), world(seed, HostWorld, **options) as made:
        HostWorld.played = made
        try:
            yield made
        finally:
            HostWorld.played = None
            for worker in made.workers:
                worker.die()
            for host in made.hosts:
                host.close()


def play_hosts(seed, steps=9_000, *, outages=OUTAGES, faults=(), kinds=None, **options):
    """Play a world with outages at random; return it with what it counted."""
    kinds, faults = kinds or KINDS, faults or FAULTS
    with hosts(seed, **options) as made:
        chance, heals_at = made.chance, 0.0
        for _ in range(steps):
            if len(made.live) < 4 and chance.random() < 0.2:
                made.begin(chance.choice(kinds))
            made.step()
            if made.fault is not None:
                if made.now >= heals_at:
                    made.heal()
            elif made.settled and chance.random() < 0.01:
                if chance.random() < 0.6:
                    made.break_all(chance.choice(outages))
                else:
                    made.break_node(chance.choice(faults), chance.choice(made.members))
                heals_at = made.now + chance.uniform(0.3, 10.0)
            if chance.random() < 0.0005 and (made.settled or made.outage == "down"):
                made.kill(chance.choice(made.workers))
            elif chance.random() < 0.0005:
                made.retire(chance.choice(made.workers))
    return made
