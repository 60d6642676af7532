"""Work behind the response: bounded, in order, in every process anew."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

import flask_msm
import flask_msm.process.background as module
from flask_msm.process.background import Background
from flask_msm.process.clock import SystemClock
from flask_msm.process.locks import ProcessLock
from flask_msm.testing.memcached import wait_until


ROOT = Path(flask_msm.__file__).parent.parent
NAME = "flask-msm-test"


@pytest.fixture
def background():
    made = Background(NAME, clock=SystemClock(), deadline=7.0, limit=3)
    yield made
    made.close()


def threads():
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def run(script):
    """Run *script* in a process of its own; return how that ended."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


class Stuck:
    """A job that goes on until its event is set."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.end = threading.Event()

    def __call__(self, deadline):
        self.began.set()
        self.end.wait(600)


@pytest.fixture
def stuck(background):
    job = Stuck()
    background.put(job)
    assert job.began.wait(60)
    yield job
    job.end.set()


def test_no_thread_is_started_before_the_first_job(background):
    assert threads() == []

    background.put(lambda _: None)

    assert len(threads()) == 1


def test_jobs_are_done_one_after_another_in_order(background):
    done = []
    for number in range(50):
        wait_until(
            lambda number=number: background.put(lambda _: done.append(number)), "room in the queue"
        )

    assert background.flush(60)
    assert done == list(range(50))
    assert len(threads()) == 1


def test_a_job_is_called_with_its_deadline(background):
    deadlines = []
    before = SystemClock().monotonic()
    background.put(deadlines.append)
    assert background.flush(60)

    assert before + 7.0 <= deadlines[0] <= SystemClock().monotonic() + 7.0


def test_a_full_queue_takes_nothing_more_and_returns_false(background, stuck):
    done = []
    taken = [background.put(lambda _, n=number: done.append(n)) for number in range(5)]

    assert taken == [True, True, True, False, False]
    stuck.end.set()
    assert background.flush(60)
    assert done == [0, 1, 2]


def test_flushing_gives_up_in_time(background, stuck):
    assert background.flush(0.01) is False
    while background.put(lambda _: None):
        pass
    assert background.flush(0.01) is False


def test_flushing_what_was_never_started_starts_nothing(background):
    assert background.flush(0.01) is True
    assert threads() == []


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_job_that_raises_is_logged_and_the_next_one_is_done(background, caplog, error):
    def fail(_):
        raise error

    done = []
    with caplog.at_level(logging.ERROR, "flask_msm.background"):
        background.put(fail)
        background.put(lambda _: done.append("next"))
        assert background.flush(60)

    assert done == ["next"]
    (record,) = caplog.records
    assert record.exc_info[0] is error


def test_closing_does_what_is_queued_and_ends_the_thread(background):
    done = []
    for number in range(3):
        background.put(lambda _, n=number: done.append(n))

    background.close(60)

    assert done == [0, 1, 2]
    wait_until(lambda: not threads(), "the thread to end")


def test_closing_twice_or_before_the_first_job_does_nothing(background):
    background.close()
    background.put(lambda _: None)
    background.close(60)
    background.close(60)

    assert threads() == []


def test_closing_does_not_wait_for_a_job_that_hangs(background, stuck):
    began = SystemClock().monotonic()

    background.close(0.05)

    assert SystemClock().monotonic() - began < 60


def test_a_forked_process_has_a_thread_of_its_own_and_no_jobs_of_its_parent():
    script = """
        import os, threading, traceback
        from flask_msm.process.clock import SystemClock
        from flask_msm.process.background import Background

        background = Background("jobs", clock=SystemClock(), deadline=5)
        began, end, done = threading.Event(), threading.Event(), []

        def stuck(_):
            began.set()
            end.wait(600)
            done.append("parent")

        background.put(stuck)
        background.put(lambda _: done.append("queued"))
        assert began.wait(60)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert background.flush(0) is True
                background.put(lambda _: done.append("child"))
                assert background.flush(60)
                assert done == ["child"], done
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert status == 0
        end.set()
        assert background.flush(60)
        assert done == ["parent", "queued"], done
    """
    done = run(script)

    assert (done.returncode, done.stderr) == (0, "")


def test_jobs_queued_when_a_process_ends_are_done():
    script = """
        from flask_msm.process.clock import SystemClock
        from flask_msm.process.background import Background

        background = Background("jobs", clock=SystemClock(), deadline=5)
        for number in range(3):
            background.put(lambda _, n=number: print(n, flush=True))
    """
    done = run(script)

    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n1\n2\n", "")


def test_jobs_are_done_when_a_process_that_ends_is_asked_to_end_again():
    """As gunicorn's gevent workers are by a Ctrl-C: what waits then raises ``SystemExit``."""
    script = """
        import os, signal, sys, threading
        from flask_msm.process.clock import SystemClock
        from flask_msm.process.background import Background
        from flask_msm.testing.memcached import wait_until

        def waits_for_the_end():
            frame, names = sys._current_frames()[threading.main_thread().ident], []
            while frame:
                names.append(frame.f_code.co_name)
                frame = frame.f_back
            return names[0] == "wait" and "close" in names

        def ask(_):
            wait_until(waits_for_the_end, "the process to end")
            os.kill(os.getpid(), signal.SIGUSR1)
            wait_until(asked.is_set, "the signal to be handled")

        def handle(*_):
            asked.set()
            raise SystemExit

        asked = threading.Event()
        signal.signal(signal.SIGUSR1, handle)
        background = Background("jobs", clock=SystemClock(), deadline=5)
        background.put(ask)
        background.put(lambda _: os.write(1, b"done"))
    """
    done = run(script)

    assert (done.returncode, done.stdout, done.stderr) == (0, "done", "")


def test_a_job_that_waits_is_done_when_its_time_has_come(background):
    done = threading.Event()

    background.put(lambda _: done.set(), after=0.01)

    assert done.wait(60)


def test_a_job_that_does_not_wait_ends_the_rest_of_those_before(background):
    done = []
    background.put(lambda _: done.append("waits"), after=3600.0)

    background.put(lambda _: done.append("does not"))

    assert background.flush(60)
    assert done == ["waits", "does not"]


def test_flushing_and_closing_end_a_rest(background):
    done = []
    background.put(lambda _: done.append(1), after=3600.0)
    assert background.flush(60)
    background.put(lambda _: done.append(2), after=3600.0)

    background.close(60)

    assert done == [1, 2]
    wait_until(lambda: not threads(), "the thread to end")


def test_jobs_that_wait_and_follow_each_other_wake_the_thread_once(background, monkeypatch):
    woken = []
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=woken.append))
    for _ in range(3):
        done = threading.Event()
        background.put(lambda _, done=done: done.set(), after=0.02)
        assert done.wait(60)

    assert len(woken) == 1


def test_a_job_that_does_not_wait_ends_the_time_in_which_the_thread_looks_for_others(
    background, monkeypatch
):
    rests = []
    usual = threading.Event.wait
    monkeypatch.setattr(
        background,
        "_rest",
        lambda jobs, seconds: rests.append(seconds) or usual(background._hurried, 0.01),
    )
    done = threading.Event()
    background.put(lambda _: done.set(), after=100.0)
    assert done.wait(60)

    background.put(lambda _: None)

    assert background.flush(60)
    assert set(rests) == {100.0}


def test_a_job_that_a_forked_child_inherited_does_not_give_back_the_lock_of_the_child():
    jobs, lock = [], ProcessLock()
    queue = SimpleNamespace(put=lambda job, after: jobs.append(job) or True)
    assert module.put_alone(queue, lock, int)
    assert not module.put_alone(queue, lock, int)

    lock.renew()  # as after a fork, of which greenlets go on in the child

    assert module.put_alone(queue, lock, int)
    jobs[0](0.0)
    assert lock.locked()
    jobs[1](0.0)
    assert not lock.locked()


def test_a_job_that_is_refused_leaves_the_lock_free():
    lock = ProcessLock()

    assert not module.put_alone(SimpleNamespace(put=lambda _, after: False), lock, int)
    assert not lock.locked()


def test_a_system_that_gives_no_thread_has_jobs_refused_until_it_gives_one(
    background, monkeypatch, caplog
):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    done = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert not background.put(lambda _: done.set())
        assert not background.put(lambda _: done.set())
        assert background.flush(0)
    assert caplog.messages == ["no work can be done behind responses: can't start new thread"]
    assert not done.is_set()

    assert background.put(lambda _: done.set())

    assert done.wait(60)
