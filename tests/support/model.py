"""The whole cluster as a model: real workers over nodes in memory, one node operation at a time.

Every request, tick and job runs in a thread of its own that is handed a baton: exactly one of them
runs at any moment, and each gives the baton back before its next operation on a node. So the test
that plays a ``World`` decides in which order the operations of several workers reach the nodes, and
the same seed gives the same history. Requests go through ``UnitOfWork`` and ``Session`` as Flask's
do, without Flask; workers are put together by ``Application``.

What is counted as a violation stands in ``VIOLATIONS``.
"""

from __future__ import annotations

import base64
import logging
import math
import random
import threading
import traceback
from collections import Counter, deque
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from operator import attrgetter
from types import SimpleNamespace
from unittest import mock

from support.clock import FakeClock
from support.fake_node import FakeNode, FakeQuickCommands, hand_on_digests, values_of

from flask_msm.application import Application, Environment
from flask_msm.cluster.health import NodeState
from flask_msm.errors import NodeBusyError, NodeUnreachableError, RecordError
from flask_msm.memcached.failures import NotSentError
from flask_msm.memcached.protocol import Look
from flask_msm.memcached.statistics import Probe
from flask_msm.record.codec.msgpack import MsgpackCodec
from flask_msm.record.keys import keyring, ref_of, storage_key
from flask_msm.record.record import join
from flask_msm.sessions.request import RequestContext
from flask_msm.sessions.session import Session
from flask_msm.sessions.unit_of_work import Action, UnitOfWork
from flask_msm.settings.settings import Settings


#: Time in seconds one step takes, and how many operations of requests, and of upkeep, it sees.
STEP, TURNS = 0.01, 3
INTERVAL, DEADLINE, TIMEOUT = 2.0, 1.0, 0.25
#: Time in seconds after which every worker obeys a logout.
BOUND = 2 * INTERVAL + DEADLINE
#: Time in seconds a session lives, and an id that was given up shows its session.
LIFE, GRACE = 60.0, 3.0
PREFIX, SECRET = "msm:model:", "model"
KEYS = keyring((SECRET,))

VIOLATIONS = {
    "lost": "a change acknowledged before the request began is not visible to it (later than the"
    " bound if a parallel write of the session was under way while a node failed)",
    "detached": "the session was unknown, although one node was away at most",
    "undead": "a cookie was served alive later than the bound after its logout",
    "unended": "an id was served alive later than the bound after the grace of its regenerate",
    "outdated": "a cookie that is not the newest misses a change later than the bound",
    "vanished": "what a joined read showed was not shown later than the bound",
    "single": "what a joined read showed does not survive the loss of one node",
    "raised": "a request raised",
}


# -- time and turns ------------------------------------------------------------------------------


class Abandoned(BaseException):
    """The worker died in the middle of this."""


class Task:
    """Something that is under way; it goes on with each ``Baton.step``."""

    def __init__(self, act, request=None) -> None:
        self.act = act
        self.request = request
        self.wakes_at = 0.0
        self.doomed = self.done = False
        self.error: BaseException | None = None
        self.turn = threading.Lock()
        self.turn.acquire()
        self.thread: threading.Thread | None = None


class Baton:
    """Lets one task run at a time."""

    def __init__(self) -> None:
        self.current: Task | None = None
        self._returned = threading.Lock()
        self._returned.acquire()

    def step(self, task: Task) -> None:
        """Let *task* do its next operation and go on to the one behind it."""
        self.current = task
        if task.thread is None:
            task.thread = threading.Thread(target=self._run, args=(task,), daemon=True)
            task.thread.start()
        else:
            task.turn.release()
        self._returned.acquire()
        self.current = None
        if task.done:
            task.thread.join()

    def pause(self, until: float = 0.0) -> None:
        """Let others go first; called by the task that runs."""
        task = self.current
        if task is None:
            return
        task.wakes_at = until
        if not task.doomed:
            self._returned.release()
            task.turn.acquire()
        if task.doomed:
            raise Abandoned

    def end(self, task: Task) -> None:
        """End *task* where it stands."""
        task.doomed = True
        if task.thread is not None and not task.done:
            self.step(task)
        task.done = True

    def _run(self, task: Task) -> None:
        try:
            task.act()
        except Abandoned:
            pass
        except BaseException as error:  # noqa: BLE001  (reported by the test)
            task.error = error
        task.done = True
        self._returned.release()


# -- nodes ---------------------------------------------------------------------------------------


class Way(Enum):
    """How a node, or the way of one worker to it, behaves."""

    OPEN = "open"
    REFUSED = "refused"
    HANGING = "hanging"
    FLAKY = "flaky"


class Memory(FakeNode):
    """One memcached: what it holds, until when, and what still lies in its sockets."""

    def __init__(self, node_id, clock) -> None:
        super().__init__(node_id)
        self.way = Way.OPEN
        self.late = []
        self.wiped = 0
        self._clock = clock
        self._ends = {}

    def wipe(self) -> None:
        self.items.clear()
        self.late.clear()
        self.wiped += 1

    def come_back(self) -> None:
        """Do what was sent while the node was away."""
        self.way = Way.OPEN
        late, self.late = self.late, []
        for act in late:
            act()

    def forget_expired(self, keys) -> None:
        for key in keys:
            if key in self.items and self._ends.get(key, 0.0) <= self._clock.time():
                del self.items[key]

    def get(self, key):
        self.forget_expired([key])
        return self.start_gets(key, 0.0).result()

    def put_for(self, ttl, start, key, *arguments):
        self.forget_expired([key])
        done = start(key, *arguments).result()
        if done:
            self._ends[key] = math.inf if ttl is None else self._clock.time() + ttl
        return done

    def keys(self, prefix):
        self.forget_expired(list(self.items))
        return self.metadump(prefix, 0.0)

    def record(self, key, envelope):
        """Return what the node holds under *key*, also while it is away."""
        self.forget_expired([key])
        found = self.items.get(key)
        try:
            return envelope.open(found[0], key) if found else None
        except RecordError:
            return None


class OnItsWay:
    """Takes effect when it is sent or when its reply is read, as chance will have it."""

    def __init__(self, send, early) -> None:
        self._send = send
        self._read = send() if early else None

    def result(self):
        return (self._read or self._send())()

    def abandon(self) -> None:
        pass


class Link:
    """One worker's way to one node; stands for ``MemcachedNode``."""

    def __init__(self, memory, world) -> None:
        self.id = memory.id
        self.quick = FakeQuickCommands(self)
        self.item_size_max = memory.item_size_max
        self.takes_meta = False
        self.clock_ahead = 0.0
        self.memory = memory
        self.way = Way.OPEN
        self._world = world

    def start_gets(self, key, deadline):
        session = key if ":fleet:" not in key else None
        return self._exchange(partial(self.memory.get, key), deadline, session)

    def start_add(self, key, value, ttl, deadline):
        memory = self.memory
        act = partial(memory.put_for, ttl, memory.start_add, key, value, ttl, deadline)
        return self._exchange(act, deadline)

    def start_cas(self, key, value, ttl, token, deadline):
        memory = self.memory
        act = partial(memory.put_for, ttl, memory.start_cas, key, value, ttl, token, deadline)
        return self._exchange(act, deadline)

    def start_append(self, name, key, value, unique, deadline):
        memory = self.memory

        def act():
            memory.forget_expired([key])
            return memory.start_append(name, key, value, unique, deadline).result()

        return self._exchange(act, deadline)

    def add_many(self, items, deadline):
        return {
            key: self.start_add(key, value, ttl, deadline).result()
            for key, (value, ttl) in items.items()
        }

    def cas_many(self, items, deadline):
        return {
            key: self.start_cas(key, value, ttl, token, deadline).result()
            for key, (value, ttl, token) in items.items()
        }

    def get_many(self, keys, deadline):
        found = self._send(lambda: {key: self.memory.get(key) for key in keys}, deadline)()
        return {key: item for key, item in found.items() if item is not None}

    def start_get_values(self, keys, deadline):
        def read():
            found = [(key, self.memory.get(key)) for key in keys]
            return values_of({key: item.value for key, item in found if item is not None})

        return self._exchange(read, deadline)

    can_look = True

    def look(self, whole, tokens, deadline, *, beats):
        whole = set(whole)

        def act():
            for key, ttl in beats.items():
                self.memory.items.pop(key, None)
                self.memory.put_for(ttl, self.memory.start_add, key, b"-", ttl, deadline)
            return {key: self.memory.get(key) for key in (*whole, *tokens)}

        return {
            key: Look(item.token, item.value if key in whole else None)
            for key, item in self._send(act, deadline)().items()
            if item is not None
        }

    def probe(self, whole, tokens, deadline, *, beats):
        return Probe(self.stats(deadline), self.look(whole, tokens, deadline, beats=beats))

    @property
    def largest(self) -> int:
        return self.item_size_max - 512

    def stats(self, deadline, *arguments):
        settings = {"item_size_max": str(self.item_size_max), "evictions": "on"}
        general = {"version": "1.6.18", "uptime": "1", "evictions": "0"}
        return self._send(lambda: settings if arguments else general, deadline)()

    def metadump(self, prefix, deadline):
        return self._send(lambda: self.memory.keys(prefix), deadline)()

    def list_digests(self, prefix, digits, length, take, deadline):
        hand_on_digests(self.metadump(prefix, deadline), prefix, digits, length, take)

    def expiries(self, prefix, keys, deadline):
        listed = self.metadump(prefix, deadline)
        return {key: -1 for key in listed if key in keys}

    def delete(self, key, deadline):
        return self._send(lambda: self.memory.delete(key, deadline), deadline)()

    def resolve(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _exchange(self, act, deadline, read=None):
        send = partial(self._send, act, deadline, read)
        return OnItsWay(send, early=self._world.chance.random() < 0.5)

    def _send(self, act, deadline, read=None):
        """Send a command; return what reads its reply."""
        world = self._world
        world.baton.pause()
        now = world.clock.monotonic()
        if now >= deadline:
            return self._not_ask
        world.counts["operations"] += 1
        way = self.memory.way if self.memory.way is not Way.OPEN else self.way
        if way is Way.FLAKY:
            way = world.chance.choice((Way.OPEN, Way.HANGING))
        if way is Way.REFUSED:
            return self._refuse
        if way is Way.HANGING:
            fate = world.chance.choice(("never", "now", "later"))
            if fate == "now":
                act()
            elif fate == "later":
                self.memory.late.append(act)
            return partial(self._time_out, min(now + TIMEOUT, deadline))
        answer = act()
        task = world.baton.current
        if read and task is not None and task.request is not None:
            task.request.asked.add(self.id)
        return lambda: answer

    def _not_ask(self):
        raise NotSentError(self.id, "not asked: the deadline had passed")

    def _refuse(self):
        raise NodeUnreachableError(self.id, "connection refused")

    def _time_out(self, until):
        self._world.baton.pause(until)
        raise NodeBusyError(self.id, "timed out")


# -- workers -------------------------------------------------------------------------------------


class SkewedClock:
    """The clock of a machine that is ahead of others, or behind."""

    def __init__(self, clock, ahead) -> None:
        self._clock = clock
        self._ahead = ahead

    def time(self) -> float:
        return self._clock.time() + self._ahead

    def monotonic(self) -> float:
        return self._clock.monotonic()


def settings_for(node_ids, **more):
    addresses = [f"{node_id}:127.0.0.1:{port}" for port, node_id in enumerate(node_ids, 1)]
    config = {
        "MSM_NODES": addresses,
        "MSM_PROBE_INTERVAL": INTERVAL,
        "MSM_REQUEST_DEADLINE": DEADLINE,
        "MSM_TIMEOUT": TIMEOUT,
        "MSM_REGENERATE_GRACE": GRACE,
        "MSM_KEY_PREFIX": PREFIX,
        # Workers of other hosts: what one of them keeps no other one sees, and it ends with it.
        "MSM_LOCAL_CACHE": "simple",
        "MSM_MIRROR": False,
        **more,
    }
    return Settings.from_mapping(config, app_name="model")


class Worker:
    """One process: an ``Application``, with its threads replaced by tasks of the world."""

    def __init__(self, world, number) -> None:
        self.world = world
        self.number = number
        self.links = {
            node_id: Link(memory, world)
            for node_id, memory in world.nodes.items()
            if node_id in world.members
        }
        ahead = world.chance.uniform(-world.skew, world.skew)
        self.clock = SkewedClock(world.clock, ahead) if world.skew else world.clock
        self.parts = Application(
            Environment(
                settings=world.settings_for(self.links),
                name="model",
                version="model",
                codec=MsgpackCodec(),
                clock=self.clock,
                keys=lambda: KEYS,
                notify=world.notified,
                listener=lambda event: world.tell(f"w{number}: {event.text}"),
                raise_unexpected=lambda: True,
                scheduler=None,
                make_node=lambda address: self.links[address.id],
                root="model",
                policy=None,
                blacklisted=lambda _: None,
                # Where a report is kept depends on the name of the worker.
                worker=lambda: f"w{number}",
                queue=self.queue,
                chance=lambda: 0.5,
                rest=world.rest,
            )
        )
        cluster = self.parts.cluster
        self.monitor, self.state = cluster.monitor, cluster.state
        self.repository = self.parts.repository
        self.repository._stamps._worker = number
        # How long copying takes is not a matter of the time in the world.
        cluster.rebuilder.copier.processor = lambda: 0.0
        self._forget_what_the_fast_path_gave_up()
        self.parts.cluster.store.cluster._behind = SimpleNamespace(put=self._make_again)
        #: Copies that are being made again behind a response.
        self.making_again = 0
        self.jobs = deque()
        self.requests: list[Task] = []
        self.working: Task | None = None
        self.upkeep: Task | None = Task(self.monitor.begin)
        self.ready = self.leaving = self.left = False
        self.ticks_at = world.clock.monotonic() + world.chance.uniform(0.0, INTERVAL)

    def _forget_what_the_fast_path_gave_up(self) -> None:
        """What it was answered before counts for nothing: the usual read asks anew."""
        store, baton = self.parts.cluster.store, self.world.baton
        usual = store.load

        def load(*args, **options):
            task = baton.current
            if task is not None and task.request is not None:
                task.request.asked.clear()
            return usual(*args, **options)

        store.load = load

    @property
    def settled(self) -> bool:
        """Whether the worker sees each node up and trusted, or drained."""
        return self.ready and all(
            view.state is NodeState.DRAINED or (view.trusted and view.state is NodeState.UP)
            for view in self.state.view().values()
        )

    def command(self, change) -> None:
        """Do with the control state what an operator asks for."""
        self._later(lambda _: self.parts.cluster.reactions.command(change))

    @property
    def idle(self) -> bool:
        return not (self.requests or self.jobs or self.working or self.upkeep)

    def tasks(self):
        return [task for task in (self.working, self.upkeep) if task is not None]

    def turn(self) -> None:
        """Begin what is to be begun, and take leave of what is done."""
        for task in self.tasks():
            if task.done:
                self._finished(task)
        if self.working is None and self.jobs:
            job = self.jobs.popleft()
            self.working = Task(lambda: job(self.clock.monotonic() + DEADLINE))
        if self.upkeep is None and self.clock.monotonic() >= self.ticks_at:
            self.ticks_at += INTERVAL
            self.upkeep = Task(self.monitor.tick)

    def _finished(self, task: Task) -> None:
        if task.error is not None:
            raise task.error
        if task is self.working:
            self.working = None
        else:
            self.upkeep, self.ready = None, True

    def _make_again(self, job) -> bool:
        def run(deadline):
            try:
                job(deadline)
            finally:
                self.making_again -= 1

        self.making_again += 1
        return self._later(run)

    def queue(self, *_, **__):
        """Return what stands for a queue of work behind requests."""
        return SimpleNamespace(put=self._later)

    def _later(self, job, *, after=0.0) -> bool:
        self.jobs.append(job)
        return True


# -- browsers and their requests -----------------------------------------------------------------


def shown(session):
    """Return what *session* shows, and leave what is not decoded yet as it is."""
    if session._undecoded is None:
        return session._peek()
    loads = session._backing.tracker.codec.loads
    stored = {name: loads(raw) for name, (_, raw) in session._undecoded.items() if raw is not None}
    return {**stored, **session._decoded()}


class Sent(RequestContext):
    """What a ``UnitOfWork`` has to know of its request."""

    endpoint = "model"
    writable = True

    def __init__(self, repository, token) -> None:
        self.repository, self.before_store = repository, lambda: None
        self._sent = token

    def read_cookies(self):
        return (self._sent,) if self._sent else ()

    def read_life(self) -> float:
        return LIFE


#: Requests that raise the version of a session.
CHANGES = frozenset({"write", "remove", "regenerate"})


class Expected(dict):
    """By name, the number and the time of the last change that has to be visible."""

    def note(self, name, number, at) -> None:
        if number > self.get(name, (0, 0.0))[0]:
            self[name] = number, at

    def missing_from(self, seen, removed, before=float("inf")):
        """Return the names whose change, of a time earlier than *before*, is not in *seen*."""
        return [
            name
            for name, (number, at) in self.items()
            if at < before and not _shows(seen.get(name), number, removed.get(name, 0))
        ]


def _shows(value, number, removed) -> bool:
    """Return whether *value* is change *number* or a later one."""
    return removed >= number if value is None else value >= number


class Browser:
    """Holds a cookie and remembers the answers."""

    def __init__(self, number) -> None:
        self.number = number
        self.cookie = None
        self.cookies = []  # all of the session id it has now
        self.past = []  # of ids it had before, with the time they were given up
        self.acknowledged = Expected()
        self.shown = Expected()
        self.removed = {}
        self.changed_at = 0.0
        self.creating = self.ending = False

    def take(self, token) -> None:
        if self.cookie is None or token.sid != self.cookie.sid:
            self.cookies = []
            self.cookie = token
        if (token.version, token.renewed) >= (self.cookie.version, self.cookie.renewed):
            self.cookie = token
        if token not in self.cookies:
            self.cookies.append(token)


class Gone:
    """A cookie that must not open a session any more.

    Attributes:
        at: When it ended for good.
        kind: The violation it would be.
    """

    def __init__(self, token, at, kind) -> None:
        self.token = token
        self.at = at
        self.kind = kind


@dataclass(eq=False)
class Request:
    """One request, and what was true when it began."""

    kind: str
    worker: Worker
    token: object
    began: float
    browser: Browser | None = None
    gone: Gone | None = None
    name: str = ""
    number: int = 0
    acknowledged: Expected = field(default_factory=Expected)
    shown: Expected = field(default_factory=Expected)
    wiped: int = 0
    asked: set = field(default_factory=set)
    told: set = field(default_factory=set)

    def __str__(self) -> str:
        who = f"b{self.browser.number}" if self.browser else "no browser"
        what = f" {self.name}={self.number}" if self.name else ""
        return f"{self.kind}{what} by {who} on w{self.worker.number}, begun {self.began:.2f}"


# -- the world -----------------------------------------------------------------------------------


class World:
    """Nodes, workers and browsers, and the time they share.

    Args:
        seed: Decides what is left to chance.
        nodes: How many nodes there are.
        members: How many of them workers use, until ``members`` is changed.
        workers: How many workers.
        browsers: How many browsers have a session at a time.
        skew: How far the clock of a worker may be off, seconds.
    """

    def __init__(self, seed, *, nodes=3, members=None, workers=3, browsers=5, skew=0.0) -> None:
        self.chance = random.Random(seed)
        self.clock = FakeClock()
        self.baton = Baton()
        self.skew = skew
        self.counts = Counter()
        self.violations = Counter()
        self.story = []
        self.first = None
        self.nodes = {f"n{n}": Memory(f"n{n}", self.clock) for n in range(1, nodes + 1)}
        self.members = list(self.nodes)[:members]
        self._numbers = 0
        self._workers_made = 0
        self._browsers_made = 0
        self.workers = [self._worker() for _ in range(workers)]
        self.browsers = [self._browser() for _ in range(browsers)]
        self.gone: list[Gone] = []
        self.live: list[Task] = []
        self.fault = None
        self.healed_at = 0.0

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    @property
    def settled(self) -> bool:
        """Whether the last fault is over and forgotten, as far as any worker can see."""
        rested = self.now - self.healed_at > 1.5 * INTERVAL
        if self.fault is not None or not rested or self.outdated_workers():
            return False
        return all(worker.settled for worker in self.workers)

    def drains(self) -> dict[str, str]:
        """Return what was ordered last of nodes out of use: ``draining``, or ``drained`` by now."""
        controls = [worker.parts.cluster.control for worker in self.workers]
        newest = {
            node_id: max((control.drain(node_id) for control in controls), key=attrgetter("stamp"))
            for node_id in self.nodes
        }
        return {node_id: drain.value for node_id, drain in newest.items() if drain.value}

    # -- what happens ----------------------------------------------------------------------------

    def step(self, index=None) -> None:
        """Let time go on, and some tasks with it; of the requests only the *index*-th, if given."""
        self.clock.advance(STEP)
        for worker in list(self.workers):
            worker.turn()
            if worker.leaving and worker.idle:
                self._replace(worker)
        for _ in range(TURNS if index is None else 1):
            ready = [task for task in self.live if task.wakes_at <= self.now]
            if ready:
                self._go_on(
                    self.chance.choice(ready) if index is None else ready[index % len(ready)]
                )
        for _ in range(TURNS):
            upkeep = [
                task
                for worker in self.workers
                for task in worker.tasks()
                if task.wakes_at <= self.now and not task.done
            ]
            if upkeep:
                self.baton.step(self.chance.choice(upkeep))

    def _go_on(self, task) -> None:
        self.baton.step(task)
        if task.done:
            self._ended(task)

    def run(self, seconds) -> None:
        for _ in range(round(seconds / STEP)):
            self.step()

    def finish(self) -> None:
        """Let all requests come to their end."""
        while self.live:
            self.step()

    def begin(self, kind, worker_index=None, browser_index=None) -> None:
        """Begin a request, if a browser can make it and a worker can take it."""
        workers = [worker for worker in self.workers if worker.ready and not worker.leaving]
        if not workers:
            return
        worker = self._pick(workers, worker_index)
        request = Request(kind, worker, None, self.now)
        request.wiped = sum(memory.wiped for memory in self.nodes.values())
        if kind.startswith("replay"):
            if not self.gone:
                return
            request.gone = self._pick(self.gone, browser_index)
            request.token = request.gone.token
        elif not self._prepare(request, self._pick(self.browsers, browser_index)):
            return
        task = Task(partial(self._serve, request), request)
        request.worker.requests.append(task)
        self.live.append(task)

    def break_node(self, kind, node_id) -> None:
        """Begin the only fault there is at a time; a flush is over at once."""
        memory = self.nodes[node_id]
        self.tell(f"{node_id}: {kind}")
        self.counts[kind] += 1
        if kind in ("kill", "flush"):
            memory.wipe()
        if kind == "flush":
            self.healed_at = self.now
            return
        self.fault = node_id
        way = {"hang": Way.HANGING, "flaky": Way.FLAKY}.get(kind.split()[-1], Way.REFUSED)
        if not kind.startswith("one-sided"):
            memory.way = way
            return
        for worker in self.chance.sample(
            self.workers, self.chance.randint(1, len(self.workers) - 1)
        ):
            worker.links[node_id].way = way

    def heal(self) -> None:
        memory = self.nodes[self.fault]
        self.tell(f"{self.fault} is back")
        for worker in self.workers:
            worker.links[self.fault].way = Way.OPEN
        memory.come_back()
        self.fault, self.healed_at = None, self.now

    def drain(self, node_id) -> None:
        """Have a worker told to take a node out of use."""
        self._command(
            "drain",
            node_id,
            lambda control: control.set_drain(node_id, "draining", who="anna", why="a test"),
        )

    def undrain(self, node_id) -> None:
        """Have a worker told to take a node into use again, as ``Console.undrain`` does."""

        def change(control):
            control.set_missed(node_id, "was drained")
            control.set_drain(node_id, None, who="anna", why="a test")

        self._command("undrain", node_id, change)

    def _command(self, what, node_id, change) -> None:
        self.tell(f"{node_id}: {what}")
        self.counts[what] += 1
        self.healed_at = self.now
        self.chance.choice(self.workers).command(change)

    def retire(self, worker) -> None:
        """Let *worker* end its work, leave the fleet, and be replaced."""
        self.tell(f"w{worker.number} is to be replaced")
        worker.leaving = True

    def kill(self, worker) -> None:
        """End *worker* where it stands; another one takes its place."""
        self.tell(f"w{worker.number} dies")
        for task in worker.requests + worker.tasks():
            self.baton.end(task)
        self.live = [task for task in self.live if not task.done]
        for task in worker.requests:
            self._broken_off(task.request)
        self._swap(worker)

    def close(self) -> None:
        """End everything that is under way."""
        for task in self.live + [task for worker in self.workers for task in worker.tasks()]:
            self.baton.end(task)

    def outdated_workers(self):
        """Return the workers that use other nodes than they should by now."""
        return [worker for worker in self.workers if list(worker.links) != self.members]

    def rest(self, seconds) -> None:
        self.baton.pause(self.now + seconds)

    def tell(self, text, browser=None) -> None:
        self.story.append((browser, f"{self.now:8.2f} {text}"))

    def notified(self, what, ref) -> None:
        task = self.baton.current
        if task is not None and task.request is not None:
            task.request.told.add((what, ref))

    def new_sid(self) -> str:
        return base64.urlsafe_b64encode(self.chance.randbytes(32)).rstrip(b"=").decode()

    # -- workers and browsers --------------------------------------------------------------------

    def settings_for(self, node_ids):
        # Workers that take the fast path beside some that do not.
        return settings_for(node_ids, MSM_FAST_PATH=self._workers_made % 3 != 0)

    def _pick(self, choices, index):
        return self.chance.choice(choices) if index is None else choices[index % len(choices)]

    def _worker(self) -> Worker:
        self._workers_made += 1
        return Worker(self, self._workers_made)

    def _browser(self) -> Browser:
        self._browsers_made += 1
        return Browser(self._browsers_made)

    def _successor(self, worker) -> Worker:
        return self._worker()

    def _replace(self, worker) -> None:
        if worker.left:
            self._swap(worker)
        else:
            worker.left, worker.upkeep = True, Task(worker.monitor.leave)

    def _swap(self, worker) -> None:
        successor = self._successor(worker)
        for node_id, link in successor.links.items():
            if node_id in worker.links:
                link.way = worker.links[node_id].way
        self.workers[self.workers.index(worker)] = successor
        self.counts["workers replaced"] += 1

    def _prepare(self, request, browser) -> bool:
        """Make the request one of *browser*; return whether that is possible now."""
        others = [task.request for task in self.live if task.request.browser is browser]
        if browser.ending or browser.creating:
            return False
        request.browser = browser
        request.token = browser.cookie
        if browser.cookie is None:
            request.kind, browser.creating = "write", True
        if request.kind in ("write", "remove"):
            self._numbers += 1
            request.number = self._numbers
            request.name = self.chance.choice("abc")
            if any(other.name == request.name for other in others):
                return False  # whichever of two parallel changes wins, it is right
            if request.kind == "remove":
                browser.removed[request.name] = request.number
        elif request.kind == "logout":
            browser.ending = True
        elif request.kind == "outdated":
            request.token = self.chance.choice(browser.cookies)
        request.acknowledged = Expected(browser.acknowledged)
        request.shown = Expected(browser.shown)
        return True

    # -- serving ---------------------------------------------------------------------------------

    def _serve(self, request) -> None:
        unit = UnitOfWork(Sent(request.worker.repository, request.token))
        session = Session(backing=unit)
        if request.kind == "touch":
            unit.request.judge()
            action = unit.refresh(session) if unit.request.is_refresh_due(None) else Action.KEEP
        else:
            session._load()
            self._check(request, unit, session)
            self._act(request, session)
            plain = unit.tracker.plain_changes(session)
            self.counts["plain"] += plain is not None
            action = unit.finish(session, plain)
        if request.browser is not None:
            self._answer(request, unit, action)

    def _act(self, request, session) -> None:
        match request.kind:
            case "write":
                session.setdefault("user", request.number)
                session[request.name] = request.number
            case "remove":
                session.pop(request.name, None)
            case "replay write":
                session["late"] = request.number
            case "regenerate":
                session.regenerate()
            case "logout":
                session.destroy()

    def _answer(self, request, unit, action) -> None:
        """Do what a browser does with the answer."""
        browser, token, before = request.browser, unit.request.token, request.token
        self.tell(f"{request}: {action.value}, asked {sorted(request.asked)}", browser)
        if request.kind == "logout":
            self._logged_out(request)
            return
        if token is None or action is not Action.SET:
            return
        self.counts["acknowledged"] += 1
        if before is not None and token.sid != before.sid and request.kind == "regenerate":
            self._moved(request, token)
        elif browser.cookie is None or token.sid == browser.cookie.sid:
            browser.take(token)
        if before is None or (token.sid == before.sid and token.version > before.version):
            for name in (request.name, "user") if before is None else (request.name,):
                browser.acknowledged.note(name, request.number, self.now)

    def _moved(self, request, token) -> None:
        browser = request.browser
        if self._is_apart(request, token):
            # The session had moved already: this is one of its own, of which nothing is expected.
            self.counts["apart"] += 1
            return
        self.counts["moved"] += 1
        if browser.ending == "over":
            self.gone.append(Gone(token, self.now, "undead"))
            return
        if browser.cookie.sid != request.token.sid:
            self.gone.append(Gone(token, self.now + GRACE, "unended"))
            return
        for old in browser.cookies:
            self.gone.append(Gone(old, self.now + GRACE, "unended"))
        browser.take(token)

    def _is_apart(self, request, token) -> bool:
        return ("created", ref_of(storage_key(PREFIX, token.sid))) in request.told

    def _logged_out(self, request) -> None:
        browser = request.browser
        ref = ref_of(storage_key(PREFIX, request.token.sid))
        if ("destroyed", ref) in request.told:
            self.counts["logouts"] += 1
            for token in browser.cookies:
                self.gone.append(Gone(token, self.now, "undead"))
            browser.ending = "over"
        self._leave(browser)

    def _leave(self, browser) -> None:
        """Another browser takes the place of one whose session is over."""
        if browser in self.browsers:
            self.browsers[self.browsers.index(browser)] = self._browser()

    def _ended(self, task) -> None:
        request = task.request
        self.live.remove(task)
        request.worker.requests.remove(task)
        if request.browser is not None and request.kind in CHANGES:
            request.browser.changed_at = self.now
        if request.browser is not None and request.kind == "write":
            request.browser.creating = False
        if task.error is not None:
            self._violated("raised", request, "".join(traceback.format_exception(task.error)))
            self._broken_off(request)

    def _broken_off(self, request) -> None:
        """Accept both outcomes: the request may have been done or not."""
        if request.browser is not None:
            request.browser.creating = False
            if request.kind in ("logout", "regenerate"):
                self._leave(request.browser)

    # -- checking --------------------------------------------------------------------------------

    def _check(self, request, unit, session) -> None:
        seen = shown(session)
        self.counts["reads"] += 1
        if session._detached:
            self.counts["detached"] += 1
        if request.gone is not None:
            self._check_gone(request, alive=bool(seen) and unit.request.token is not None)
            return
        browser = request.browser
        if request.token is None or browser.ending or self._may_have_expired(request):
            return
        if session._detached:
            self._violated("detached", request, "")
            return
        self._check_seen(request, browser, seen)
        if len(request.asked) > 1 and unit.record is not None:
            self._check_survival(request, unit)
            for name, value in seen.items():
                request.browser.shown.note(name, value, self.now)

    def _may_have_expired(self, request) -> bool:
        return self.now - self._monotonic_of(request.token.renewed) > LIFE - self.skew

    def _monotonic_of(self, seconds) -> float:
        return seconds - self.clock.time() + self.now

    def _check_gone(self, request, *, alive) -> None:
        gone = request.gone
        self.counts["replays"] += 1
        if alive and request.began > gone.at:
            self.counts["served after the end"] += 1
        if alive and request.began > gone.at + BOUND:
            self._violated(gone.kind, request, f"gone since {gone.at:.2f}")

    def _check_seen(self, request, browser, seen) -> None:
        limit = request.began - BOUND
        at_once = float("inf")
        if self._overtaken(request, browser):
            at_once = limit
            behind = request.acknowledged.missing_from(seen, browser.removed)
            self.counts["behind for a moment"] += bool(behind)
        checks = [
            ("outdated", request.acknowledged, limit)
            if request.kind == "outdated"
            else ("lost", request.acknowledged, at_once),
            ("vanished", request.shown, limit),
        ]
        for kind, expected, before in checks:
            names = expected.missing_from(seen, browser.removed, before)
            if names:
                text = ", ".join(
                    f"{name}={expected[name]}, seen {seen.get(name)}" for name in names
                )
                self._violated(kind, request, text)
                # Said once: what is lost stays lost.
                browser.acknowledged.clear()
                browser.shown.clear()
                return

    def _overtaken(self, request, browser) -> bool:
        """Return whether a node that misses a change may seem to be newer than it for a moment.

        A write that is under way raises the version of a node before it has learned what others
        know. If that node was just left out of another write, and not all workers know that yet,
        its version satisfies the cookie although a change is missing.
        """
        if self.now - self.healed_at > BOUND and self.fault is None and not self.outdated_workers():
            return False
        others = [task.request for task in self.live if task.request is not request]
        under_way = any(other.browser is browser and other.kind in CHANGES for other in others)
        return under_way or browser.changed_at >= request.began

    def _check_survival(self, request, unit) -> None:
        """See whether what was read is on two nodes, unless time or luck ran out."""
        wiped = sum(memory.wiped for memory in self.nodes.values())
        if wiped != request.wiped or self.now - request.began >= DEADLINE:
            return
        if request.worker.making_again:
            return  # the first copy was enough, and the one that a node lost is on its way
        envelope, record = request.worker.parts.envelope, unit.record
        key = unit.request.key(unit.request.token.sid)
        drains = self.drains()
        holders = [
            node_id
            for node_id, memory in self.nodes.items()
            # One that was drained may be switched off at any time.
            if drains.get(node_id) != "drained"
            if (held := memory.record(key, envelope)) and _is_in(held, record)
        ]
        if len(holders) < 2:
            self._violated("single", request, f"only {holders} of {request.asked} hold it")

    def _violated(self, kind, request, text) -> None:
        self.violations[kind] += 1
        self.tell(f"{kind.upper()} ({VIOLATIONS[kind]}): {request}; {text}", request.browser)
        self.first = self.first or (len(self.story), request.browser)

    def report(self, lines=80) -> str:
        """Return what led to the first violation, or what happened lately."""
        end, victim = self.first or (len(self.story), None)
        story = [text for browser, text in self.story[:end] if browser in (None, victim)]
        return "\n".join([str(dict(self.violations)), *story[-lines:]])


def _is_in(held, record) -> bool:
    """Return whether *held* has all of *record*, also if it does not tell yet that this is all."""
    return join(held, record)._replace(created=held.created) == held


@contextmanager
def world(seed, kind=World, **options):
    """Make a ``World`` in which its seed decides everything: ids, and what the time is."""
    logging.getLogger("flask_msm").setLevel(logging.CRITICAL)
    try:
        made = kind(seed, **options)
        with ExitStack() as stack:
            for name, what in {
                "flask_msm.sessions.unit_of_work.new_sid": made.new_sid,
                # No thread of its own renews a lease: here no rebuild takes that long.
                "flask_msm.maintenance.rebuild.kept": lambda _: nullcontext(),
                "flask_msm.storage.local.memory.time": made.clock,
                "cachelib.simple.time": made.clock.time,
            }.items():
                stack.enter_context(mock.patch(name, what))
            stack.callback(made.close)
            yield made
    finally:
        logging.getLogger("flask_msm").setLevel(logging.NOTSET)


KINDS = (
    ["write"] * 40
    + ["read"] * 22
    + ["remove"] * 5
    + ["touch"] * 6
    + ["outdated"] * 5
    + ["logout"] * 4
    + ["regenerate"] * 4
    + ["replay read"] * 11
    + ["replay write"] * 3
)
FAULTS = (
    "kill",
    "cut",
    "hang",
    "flaky",
    "flush",
    "one-sided cut",
    "one-sided hang",
    "one-sided flaky",
)


#: Steps between the replacements of two workers in a rolling deploy.
DEPLOY_PAUSE = 500


def play(
    seed,
    steps=12_000,
    *,
    faults=FAULTS,
    replaced=0.0005,
    deployed=None,
    drains=0.0,
    **options,
) -> World:
    """Play a world at random; return it with what it counted.

    Args:
        seed: Decides everything.
        steps: How long, in steps of time.
        faults: What nodes suffer from.
        replaced: How likely a worker is replaced in each step.
        deployed: The nodes workers use after a rolling deploy in the middle.
        drains: How likely a node is drained or taken back in a step in which all is well.
        options: See ``World``.
    """
    with world(seed, **options) as made:
        chance, heals_at = made.chance, 0.0
        for number in range(steps):
            if deployed and made.members != deployed and 2 * number > steps and made.settled:
                made.members = deployed
            elif number % DEPLOY_PAUSE == 0 and made.outdated_workers():
                made.retire(made.outdated_workers()[0])
            if len(made.live) < 4 and chance.random() < 0.2:
                made.begin(chance.choice(KINDS))
            made.step()
            if made.fault is not None:
                if made.now >= heals_at:
                    made.heal()
            elif chance.random() < 0.01 and made.settled:
                made.break_node(chance.choice(faults), chance.choice(made.members))
                heals_at = made.now + chance.uniform(0.3, 15.0)
            elif drains and chance.random() < drains and made.settled:
                _drain_or_undrain(made)
            elif chance.random() < 0.0005 and made.settled:
                made.kill(chance.choice(made.workers))
            if chance.random() < replaced:
                made.retire(chance.choice(made.workers))
    return made


def _drain_or_undrain(made) -> None:
    """Drain one more node, as long as two are left; or take one back, which may be empty."""
    chance, drained = made.chance, sorted(made.drains())
    left = [node_id for node_id in made.members if node_id not in drained]
    if not drained or (len(left) > 2 and chance.random() < 0.5):
        made.drain(chance.choice(left))
        return
    node_id = chance.choice(drained)
    if chance.random() < 0.75:
        made.break_node("flush", node_id)
    made.undrain(node_id)
