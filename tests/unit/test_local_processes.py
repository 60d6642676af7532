"""Several processes of a host with one folder: the lock of a session, and what a dead one left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from support.storage import KEY, Host, adding, at_once, changing, key, load, record, save, values

import flask_msm
from flask_msm.storage.local import locks as key_locks
from flask_msm.storage.local.locks import PATIENCE, STRIPES, KeyLocks, _lock
from flask_msm.storage.local.store import MOST_OWED, SETTLE_EVERY
from flask_msm.storage.local.sync_state import SyncState
from flask_msm.testing.memcached import wait_until


ROOT = Path(flask_msm.__file__).parent.parent
#: Time in seconds a process may take to do what a test waits for.
LONG = 120
#: What takes so long waits for a lock that it should not wait for, see ``patient``.
WAITS = 60


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "local"


@pytest.fixture
def patient(monkeypatch):
    """Who waits for a lock from now on does so for a long time, and is seen."""
    return lambda: monkeypatch.setattr(key_locks, "PATIENCE", 10 * WAITS)


@pytest.fixture
def run(folder):
    """Run lines in another process that has a ``host`` on the same folder."""
    started = []

    def start(lines):
        head = (
            "import os, signal, sys, time\n"
            "from pathlib import Path\n"
            "from support.storage import *\n"
            "from flask_msm.storage.local.store import SyncState\n"
            f"host = Host(Path({str(folder)!r}), alone=False)\n"
        )
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        process = subprocess.Popen(
            [sys.executable, "-c", head + textwrap.dedent(lines)],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_parallel_changes_of_processes_are_all_kept(folder, run):
    host = Host(folder, alone=False)
    save(host.local, adding(record(1)))
    workers = [
        run(f"""
            for number in range(40):
                save(host.local, changing(**{{"{name}" + str(number): b"x"}}))
        """)
        for name in "abc"
    ]

    for worker in workers:
        assert worker.wait(LONG) == 0

    assert values(load(host.local)).keys() == {f"{name}{n}" for name in "abc" for n in range(40)}
    assert host.local.dirty_keys() == [KEY]


HOLDS = """
    with host.shelf.locks.hold(KEY):
        print("held", flush=True)
        time.sleep(3600)
"""


def test_a_process_that_is_stopped_with_the_lock_stops_no_other_process(
    folder, run, patient, monkeypatch
):
    # A machine that is busy does not outlast it.
    monkeypatch.setattr(key_locks, "RESIGNED", 600.0)
    host = Host(folder, alone=False)
    holder = run(HOLDS)
    assert holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGSTOP)

    began = time.monotonic()
    saved = save(host.local, adding(record(1, a=b"1")))

    assert saved.copies == 1
    assert time.monotonic() - began >= PATIENCE * 0.9
    assert values(load(host.local)) == {"a": b"1"}

    patient()
    began = time.monotonic()
    save(host.local, changing(b=b"2"))

    assert time.monotonic() - began < WAITS, "only one caller waits in vain"
    assert values(load(host.local)) == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize(
    "stopped",
    [
        'host.local.write(KEY, changing(theirs=b"1"), SyncState.OUTAGE)',
        'host.local.confirm(KEY, record(1, a=b"1"))',
    ],
    ids=["in a write", "in a confirmation"],
)
@pytest.mark.parametrize("settled", ["by the next write", "by the upkeep"])
def test_a_process_that_was_stopped_in_a_write_undoes_no_change_of_others(
    folder, run, stopped, settled
):
    host = Host(folder, alone=False)
    host.local.write(KEY, adding(record(1, a=b"1")), SyncState.SYNCED)
    holder = run(f"""
        put = host.shelf.cache.set
        def slow(*arguments):
            print("has read", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
            put(*arguments)
        host.shelf.cache.set = slow
        {stopped}
    """)
    assert holder.stdout.readline() == "has read\n"

    saved = host.local.write(KEY, changing(ours=b"2"), SyncState.OUTAGE)
    assert saved.copies == 1
    os.kill(holder.pid, signal.SIGCONT)
    assert holder.wait(LONG) == 0

    assert values(load(host.local))["ours"] == b"2"
    assert host.local.dirty_keys() == [KEY]
    if settled == "by the upkeep":
        host.local.settle()
    else:
        host.local.write(KEY, changing(later=b"3"), SyncState.OUTAGE)
    other = Host(folder, alone=False)
    assert values(load(other.local))["ours"] == b"2"
    assert other.local.dirty_keys() == [KEY]
    assert host.local.find(KEY) == other.local.find(KEY)


def test_where_locks_cannot_be_opened_only_some_changes_are_remembered(folder):
    host = Host(folder, alone=False)
    locks = host.shelf.place / "locks"
    locks.rmdir()
    locks.touch()

    for number in range(MOST_OWED + 3):
        save(host.local, adding(record(1, a=b"1")), key(number))

    assert len(host.local._owed) == MOST_OWED


def test_after_a_wait_in_vain_a_lock_that_is_free_again_is_taken(folder, run):
    host = Host(folder, alone=False)
    holder = run(HOLDS)
    assert holder.stdout.readline() == "held\n"
    os.kill(holder.pid, signal.SIGSTOP)
    save(host.local, adding(record(1)))
    holder.kill()
    holder.wait(LONG)

    others = Host(folder, alone=False).shelf.locks
    with host.shelf.locks.hold(KEY):
        assert not _lock(others._file(f"{int(KEY[-2:], 16) % STRIPES:02}"), 0.0)


def test_the_lock_of_a_process_that_died_is_free_at_once(folder, run, patient):
    host = Host(folder, alone=False)
    holder = run(HOLDS)
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait(LONG)

    patient()
    began = time.monotonic()
    save(host.local, adding(record(1, a=b"1")))

    assert time.monotonic() - began < WAITS


def test_a_process_waits_for_another_one_that_is_at_work(folder, run):
    host = Host(folder, alone=False)
    save(host.local, adding(record(1)))
    writer = run("""
        def slow(seen):
            print("held", flush=True)
            time.sleep(0.1)
            return changing(a=b"1")(seen)
        save(host.local, slow)
    """)
    assert writer.stdout.readline() == "held\n"

    save(host.local, changing(b=b"2"))

    assert writer.wait(LONG) == 0
    assert values(load(host.local)) == {"a": b"1", "b": b"2"}


def test_other_sessions_do_not_wait(folder, run, patient):
    host = Host(folder, alone=False)
    holder = run(HOLDS)
    assert holder.stdout.readline() == "held\n"
    other = KEY[:-2] + f"{(int(KEY[-2:], 16) + 1) % STRIPES:02x}"

    patient()
    began = time.monotonic()
    save(host.local, adding(record(1)), other)

    assert time.monotonic() - began < WAITS


def test_threads_of_a_process_wait_for_each_other_as_long_as_it_takes(folder):
    locks = Host(folder).shelf.locks
    order = []

    def second():
        with locks.hold(KEY):
            order.append("second")

    with locks.hold(KEY):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(PATIENCE * 1.5)
        order.append("first")
    thread.join(LONG)

    assert order == ["first", "second"]


def test_workers_from_before_and_after_lock_files_were_removed_wait_for_each_other(folder):
    """Systems remove files of old age, and a lock file does not grow younger by being locked."""
    before = Host(folder, alone=False)
    save(before.local, adding(record(1)))
    for file in (before.shelf.place / "locks").iterdir():
        file.unlink()
    after = Host(folder, alone=False)
    save(after.local, changing(a=b"1"))

    before.local.settle()

    with after.shelf.locks.hold(KEY), before.shelf.locks.hold(KEY, wait=False) as held:
        assert not held
    with before.shelf.locks.hold(KEY, wait=False) as held:
        assert held


def test_the_sign_of_a_worker_is_that_of_the_others_after_the_folder_was_cleaned(folder):
    before, after = Host(folder, alone=False), Host(folder, alone=False)
    before.local.sign().show()
    (before.shelf.place / "locks" / "copying").unlink()
    after.local.sign().show()
    assert not before.local.sign().is_shown()

    before.local.settle()

    assert before.local.sign().is_shown()
    before.local.sign().show()
    assert after.local.sign().is_shown()


def test_writes_where_lock_files_cannot_be_opened_are_looked_at_once_in_a_while(folder):
    jobs = []
    host = Host(folder, alone=False, later=lambda job: jobs.append(job) or at_once(job))
    for stripe in range(STRIPES):
        (host.shelf.place / "locks" / f"{stripe:02}").mkdir()

    for times in (1, 2):
        for number in range(10):
            save(host.local, adding(record(times)), key(number))
        assert len(jobs) == times
        host.clock.advance(SETTLE_EVERY)


def test_a_child_does_not_share_the_locks_of_its_parent(tmp_path):
    locks = KeyLocks(tmp_path)
    with locks.alone("task") as alone:
        assert alone
    child = os.fork()
    if not child:
        with locks.alone("task") as alone:
            (tmp_path / "held").touch()
            while alone and not (tmp_path / "end").exists():
                time.sleep(0.01)
        os._exit(0)
    try:
        wait_until(lambda: (tmp_path / "held").exists(), "the child holds the lock")
        with locks.alone("task") as alone:
            assert not alone
    finally:
        (tmp_path / "end").touch()
        os.waitpid(child, 0)

    with locks.alone("task") as alone:
        assert alone


def test_a_session_is_saved_when_the_folder_of_locks_is_gone(folder):
    host = Host(folder, alone=False)
    (host.shelf.place / "locks").rmdir()

    assert save(host.local, adding(record(1))).copies == 1


@pytest.mark.parametrize(
    "step",
    [
        "host.shelf.cache.set = lambda *_: os.kill(os.getpid(), 9)",
        "host.shelf.journal.discard = lambda *_: os.kill(os.getpid(), 9)",
    ],
    ids=["after the mark, before the session", "after the session, before the mark goes"],
)
def test_a_process_that_dies_between_two_steps_leaves_a_mark_too_many_at_most(folder, run, step):
    host = Host(folder, alone=False)
    died = run(f"""
        if "discard" in {step!r}:
            host.local.write(KEY, adding(record(1, a=b"1")), SyncState.OUTAGE)
        {step}
        host.local.write(KEY, adding(record(1, a=b"1")), SyncState.OUTAGE)
        host.local.confirm(KEY, record(1, a=b"1"))
    """)
    assert died.wait(LONG) == -signal.SIGKILL
    assert host.local.dirty_keys() == [KEY]

    entry = host.local.find(KEY)
    if entry is None:
        host.local.forget_mark(KEY)
    else:
        host.local.confirm(KEY, entry.record)

    assert host.local.dirty_keys() == []


def test_the_mark_of_a_session_that_another_process_writes_stays(folder, run):
    host = Host(folder, alone=False)
    writer = run("""
        real = host.shelf.cache.set
        def slow(*arguments):
            print("marked", flush=True)
            time.sleep(0.05)
            real(*arguments)
        host.shelf.cache.set = slow
        host.local.write(KEY, adding(record(1, a=b"1")), SyncState.OUTAGE)
    """)
    assert writer.stdout.readline() == "marked\n"

    host.local.forget_mark(KEY)

    assert writer.wait(LONG) == 0
    assert host.local.find(KEY).mark is SyncState.OUTAGE
    assert host.local.dirty_keys() == [KEY]


def test_readers_never_see_half_a_session(folder, run):
    host = Host(folder, alone=False)
    save(host.local, adding(record(1, a=bytes(10))))
    run("""
        while True:
            for size in (10, 4000):
                save(host.local, changing(a=bytes(size)))
    """)
    seen = Counter()

    def often():
        seen[len(values(load(host.local))["a"])] += 1
        return len(seen) > 2 or (len(seen) == 2 and min(seen.values()) >= 100)

    wait_until(often, "both sizes are seen often")
    assert seen.keys() == {10, 4000}
