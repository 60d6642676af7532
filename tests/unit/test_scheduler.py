"""When the upkeep of a process begins, who calls for it, and that it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from flask import session
from support.apps import make_app
from support.clock import FakeClock

from flask_msm.cluster.health import NodeState, Observation
from flask_msm.maintenance.scheduler import Scheduler
from flask_msm.process.clock import SystemClock
from flask_msm.process.locks import ProcessLock
from flask_msm.testing.memcached import wait_until


class Job:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.left = 0
        self.threads = set()

    def __call__(self):
        self.calls += 1
        self.threads.add(threading.current_thread())

    def leave(self):
        self.left += 1


@pytest.fixture
def job():
    return Job()


@pytest.fixture
def make(job):
    made = []

    def scheduler(interval=0.02, name="shop", theirs=None):
        made.append(Scheduler(job, name=name, interval=interval, leave=job.leave, theirs=theirs))
        return made[-1]

    yield scheduler
    for one in made:
        one.stop()


@pytest.fixture
def theirs():
    made = BackgroundScheduler(timezone="UTC")
    made.start()
    yield made
    if made.running:
        made.shutdown(wait=False)


def write(**values):
    return lambda: session.update(values)


def thread_names():
    return sorted(thread.name for thread in threading.enumerate())


# -- an own scheduler ----------------------------------------------------------------------------


def test_a_job_is_called_at_once_and_again_and_again(make, job):
    scheduler = make(interval=0.02)

    assert scheduler.start()

    wait_until(lambda: job.calls >= 3, "three calls")
    assert scheduler.running


def test_threads_that_start_at_once_start_one(make, job):
    before = threading.active_count()
    scheduler = make(interval=3600)
    gate = threading.Barrier(8)

    def start():
        gate.wait(60)
        scheduler.start()

    starters = [threading.Thread(target=start) for _ in range(8)]
    for thread in starters:
        thread.start()
    for thread in starters:
        thread.join(60)

    assert threading.active_count() == before + 1


def test_stopping_ends_the_thread_and_starting_again_begins_anew(make, job):
    before = threading.active_count()
    scheduler = make(interval=3600)
    scheduler.start()
    wait_until(lambda: job.calls == 1, "the first call")
    scheduler.stop()
    scheduler.stop()
    assert not scheduler.running
    assert threading.active_count() == before

    assert scheduler.start()

    wait_until(lambda: job.calls == 2, "the first call of the second start")


def test_a_system_that_gives_no_thread_is_logged_and_requests_go_on(make, monkeypatch, caplog):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    scheduler = make()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert scheduler.start() is False

    assert "no scheduler can run here" in caplog.text
    assert not scheduler.running
    scheduler.stop()


def test_a_process_that_has_no_free_descriptor_begins_all_the_same():
    """In a process of its own: what was imported once is not looked for again."""
    script = """
        import resource, threading
        from flask_msm.maintenance.scheduler import Scheduler

        called = threading.Event()
        scheduler = Scheduler(called.set, name="shop", interval=3600, leave=print)
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        assert scheduler.start()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert called.wait(60)
        scheduler.stop()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_that_ends_leaves_the_fleet_once(make, job):
    scheduler = make(interval=3600)
    scheduler.start()

    scheduler._at_exit()
    scheduler._at_exit()

    assert job.left == 1
    assert not scheduler.running


def test_a_process_that_is_asked_to_end_again_leaves_the_fleet(job):
    left = []

    def leave():
        left.append(1)
        if len(left) == 1:
            raise SystemExit

    scheduler = Scheduler(job, name="shop", interval=3600, leave=leave)
    scheduler.start()

    scheduler._at_exit()

    assert left == [1, 1]
    assert not scheduler.running


def test_a_copy_of_a_process_does_not_believe_that_it_is_running(make, job, monkeypatch):
    """After a fork the scheduler has the state of running, and its thread is not there."""
    scheduler = make(interval=3600)
    scheduler.start()
    own = scheduler._own
    here = os.getpid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: here + 1)
        assert not scheduler.running
        scheduler._at_exit()
        assert job.left == 0
        assert scheduler.start()
        assert scheduler._own is not own
        scheduler.stop()
    own.shutdown(wait=False)


# -- a scheduler of the application --------------------------------------------------------------


def test_a_scheduler_that_is_handed_in_gets_one_job_with_the_interval(make, job, theirs):
    scheduler = make(interval=7, theirs=theirs)
    scheduler.start()
    scheduler.start()

    (entry,) = theirs.get_jobs()
    assert entry.trigger.interval.total_seconds() == 7
    assert (entry.coalesce, entry.max_instances, entry.misfire_grace_time) == (True, 1, None)
    wait_until(lambda: job.calls == 1, "the first call")


def test_a_scheduler_that_is_handed_in_loses_the_job_and_goes_on(make, job, theirs):
    theirs.add_job(lambda: None, "interval", hours=1, id="own")
    scheduler = make(theirs=theirs)
    scheduler.start()
    assert len(theirs.get_jobs()) == 2

    scheduler.stop()

    assert [entry.id for entry in theirs.get_jobs()] == ["own"]
    assert theirs.running


def test_a_scheduler_that_is_handed_in_and_does_not_run_is_started(make, job):
    theirs = BackgroundScheduler(timezone="UTC")
    scheduler = make(theirs=theirs)
    assert not theirs.running

    scheduler.start()

    wait_until(lambda: job.calls >= 1, "the first call")
    scheduler.stop()
    theirs.shutdown(wait=False)


def test_two_of_one_name_share_a_scheduler_and_do_not_take_each_others_job(make, theirs):
    one, other = make(interval=3600, theirs=theirs), make(interval=3600, theirs=theirs)
    one.start()
    other.start()
    assert len(theirs.get_jobs()) == 2

    one.stop()

    assert len(theirs.get_jobs()) == 1
    assert other.running


# -- applications --------------------------------------------------------------------------------


@pytest.fixture
def shops():
    made = []

    def make(**config):
        shop = make_app(clock=SystemClock(), testing=False, **config)
        # Here the upkeep runs as it does in earnest.
        shop.use_fleet()
        made.append(shop)
        return shop

    yield make
    for shop in made:
        shop.state.close()


def own_threads(before):
    return [
        thread.name
        for thread in threading.enumerate()
        if thread not in before and thread.is_alive()
    ]


def test_a_request_that_touches_no_session_starts_the_probes_behind_it(shops):
    before = threading.enumerate()
    shop = shops(MSM_PROBE_INTERVAL=0.05)

    shop.do()

    wait_until(lambda: "APScheduler" in own_threads(before), "the probes begin")
    assert "flask-msm-local" not in own_threads(before)


def test_the_first_session_starts_the_probes_and_the_mirror(shops):
    before = threading.enumerate()
    shop = shops(MSM_PROBE_INTERVAL=0.05)

    for number in range(3):
        shop.do(write(number=number))

    # The thread that begins ends when it has nothing to do.
    started = set(own_threads(before)) - {"flask-msm-return"}
    assert started == {"APScheduler", "flask-msm-local"}


def test_looking_at_the_dashboard_starts_the_probes_behind_the_request(shops):
    before = threading.enumerate()
    shop = shops(
        MSM_PROBE_INTERVAL=0.05,
        MSM_ADMIN=True,
        MSM_ADMIN_ACCESS="flask_msm_dashboard:loopback_only",
    )
    heartbeat = shop.state.parts.cluster.workers

    assert shop.client.get("/msm-admin/").status_code == 200

    wait_until(lambda: "APScheduler" in own_threads(before), "the probes")
    wait_until(lambda: heartbeat.names() == [heartbeat.worker], "a tick")
    # What the first look saw is shown for a moment longer.
    wait_until(
        lambda: "No node was asked yet" not in shop.client.get("/msm-admin/").text, "the nodes"
    )


@pytest.mark.parametrize(("timeout", "warns"), [(2.0, False), (2.5, True)])
def test_a_timeout_above_the_interval_is_warned_of_by_who_ticks(shops, caplog, timeout, warns):
    shop = shops(MSM_PROBE_INTERVAL=2, MSM_TIMEOUT=timeout)
    assert "MSM_TIMEOUT" not in caplog.text, "a command line ticks not"

    shop.state.parts.cluster.runtime.on_load()

    said = "MSM_TIMEOUT (2.5 seconds) is longer than MSM_PROBE_INTERVAL (2 seconds)"
    assert (said in caplog.text) is warns
    assert ("an MSM_TIMEOUT of 2 or less" in caplog.text) is warns


def test_an_upkeep_that_is_ended_while_it_begins_does_not_go_on(shops, monkeypatch):
    runtime = shops(MSM_PROBE_INTERVAL=0.05).state.parts.cluster.runtime
    scheduler, started, may_go_on = runtime.scheduler, threading.Event(), threading.Event()
    start = scheduler.start

    def slowly():
        start()
        started.set()
        return may_go_on.wait(60)

    monkeypatch.setattr(scheduler, "start", slowly)
    begins, ends = (threading.Thread(target=do) for do in (runtime.on_load, runtime.stop))
    begins.start()
    assert started.wait(60)
    ends.start()
    ends.join(0.2)  # it would be over, if it did not wait
    may_go_on.set()
    for thread in (begins, ends):
        thread.join(60)

    assert not scheduler.running


# -- without a thread ----------------------------------------------------------------------------


class Unscheduled:
    """An application without probes, with a clock that a test moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.shop = make_app(clock=self.clock, MSM_PROBE_INTERVAL=0)
        self.cluster = self.shop.state.parts.cluster
        self.shop.use_fleet()

    def states(self):
        return {id_: view.state for id_, view in self.cluster.state.view().items()}


@pytest.fixture
def unscheduled():
    made = Unscheduled()
    yield made
    made.shop.state.close()


def test_without_probes_a_healthy_cluster_needs_no_thread(unscheduled):
    before = threading.enumerate()
    for number in range(5):
        unscheduled.shop.do(write(number=number))
        unscheduled.clock.advance(60)

    assert own_threads(before) == []
    assert set(unscheduled.states().values()) == {NodeState.UP}


def test_without_probes_a_node_that_failed_comes_back_by_requests(unscheduled):
    shop = unscheduled.shop
    shop.do(write(name="anna"))
    victim = shop.homes()[0]
    shop.outage(victim)
    shop.do(write(name="berta"))
    assert unscheduled.states()[victim] is NodeState.DOWN
    shop.heal()

    for _ in range(10):
        unscheduled.clock.advance(3)
        assert shop.ask(lambda: dict(session)) == {"name": "berta"}

    assert set(unscheduled.states().values()) == {NodeState.UP}


def test_without_probes_requests_do_not_look_after_a_node_that_is_to_be_left_alone(unscheduled):
    shop = unscheduled.shop
    shop.do(write(name="anna"))
    shop.outage("n1")
    unscheduled.cluster.state.observe("n1", Observation.PROBE_HARD)
    retry_at = unscheduled.cluster.state.view()["n1"].health.retry_at
    for _ in range(20):
        shop.ask(lambda: dict(session))

    assert unscheduled.cluster.state.view()["n1"].health.retry_at == retry_at


# -- locks and forks -----------------------------------------------------------------------------


def test_a_lock_that_another_thread_held_at_a_fork_is_free_in_the_child():
    lock = ProcessLock()
    holder = threading.Thread(target=lock.acquire)
    holder.start()
    holder.join()
    assert not lock.acquire(blocking=False)

    lock.renew()

    assert lock.acquire(blocking=False)
    assert lock.locked()
    lock.release()
    assert not lock.locked()


def test_the_holder_of_a_lock_before_a_fork_does_not_release_a_lock_taken_since():
    lock = ProcessLock()
    with lock:
        lock.renew()
        taker = threading.Thread(target=lock.acquire)
        taker.start()
        taker.join()

    assert lock.locked()


def test_a_thread_of_the_child_may_have_the_name_of_one_that_held_the_lock_in_the_parent():
    lock = ProcessLock()
    lock.acquire()
    lock.renew()

    with lock:
        pass

    assert not lock.locked()


def test_a_tick_that_is_called_for_by_another_process_is_not_done(make, job):
    scheduler = make()

    scheduler._run(os.getpid() + 1)
    assert job.calls == 0
    scheduler._run(os.getpid())

    assert job.calls == 1


def test_an_upkeep_that_was_to_begin_behind_a_request_does_not_begin_after_its_end(
    shops, monkeypatch
):
    runtime = shops(MSM_PROBE_INTERVAL=0.05).state.parts.cluster.runtime
    queued = []
    monkeypatch.setattr(runtime.urgent, "put", queued.append)
    runtime.begin_behind()

    runtime.stop()
    queued[0](0.0)

    assert not runtime.begun
