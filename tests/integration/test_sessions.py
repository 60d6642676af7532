"""Sessions in real memcached processes, through real worker processes."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from support.patience import NOTICES
from support.sites import Browser, Sites

from flask_msm.testing.memcached import HOW_TO_INSTALL, wait_until
from harness.memcached import Memcached


@pytest.fixture(scope="module")
def nodes():
    if shutil.which("memcached") is None:
        pytest.fail(HOW_TO_INSTALL, pytrace=False)
    with ExitStack() as stack:
        yield [stack.enter_context(Memcached()) for _ in range(3)]


def workers_of(stack, nodes, folder, names, **config):
    """Start workers of one host; they have met no session yet."""
    folder = stack.enter_context(TemporaryDirectory(dir=folder))
    config = {"MSM_LOCAL_DIR": f"{folder}/local", **config}
    made = stack.enter_context(Sites(nodes, Path(folder), **config))
    for worker in made.add(*names):
        worker.open()
    return made.sites


@pytest.fixture
def start(tmp_path):
    with ExitStack() as stack:
        yield partial(workers_of, stack, folder=tmp_path, names=["alone"])


@pytest.fixture(scope="module")
def workers(nodes, tmp_path_factory):
    """Give two workers to all tests that break nothing."""
    with ExitStack() as stack:
        yield workers_of(stack, nodes, tmp_path_factory.mktemp("workers"), ["one", "other"])


@pytest.fixture
def own_nodes(memcached):
    return [memcached() for _ in range(3)]


@pytest.fixture
def own_workers(own_nodes, start):
    # A rebuild begins when a request that missed the node is over: no sooner than its deadline.
    return start(own_nodes, names=["one", "other"], **NOTICES)


def session_keys(node):
    return {key for key in node.all_keys() if len(key.rpartition(":")[2]) == 40}


def test_exactly_two_nodes_hold_a_session(nodes, workers):
    before = [session_keys(node) for node in nodes]
    browser = Browser()
    browser.ask(workers[0], "/set", {"name": "anna"})

    where = browser.ask(workers[1], "/where").json()

    holders = set(where["holders"]) - {"local"}
    assert len(holders) == 2
    assert set(where["homes"]) == holders
    grown = [session_keys(node) - had for node, had in zip(nodes, before, strict=True)]
    assert sorted(map(len, grown)) == [0, 1, 1]


def test_a_dump_of_the_nodes_holds_no_usable_cookie(nodes, workers):
    browser = Browser()
    browser.ask(workers[0], "/set", {"name": "anna"})
    sid = browser.ask(workers[0], "/sid").text
    cookie = browser.cookie()["session"]

    dump = b"".join(map(Memcached.dump, nodes))

    assert b"anna" in dump
    assert sid.encode() not in dump
    assert cookie.split(".")[4].encode() not in dump


@pytest.fixture
def slow_request(tmp_path):
    """Return a function that has a request write only after what happens in its block."""

    @contextmanager
    def under_way(worker, cookie):
        gate = tmp_path / str(len(list(tmp_path.iterdir())))
        gate.mkdir()
        slow, answers = Browser(cookie), []
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(slow.ask, worker, f"/set?gate={gate}", {"late": 1})
            wait_until((gate / "began").exists, "the slow request has read its session")
            yield answers
            (gate / "go on").touch()
            answers.append(late.result())

    return under_way


def test_a_slow_request_does_not_undo_a_logout_when_a_node_was_restarted(
    own_nodes, own_workers, slow_request
):
    for node in own_nodes:
        # Two nodes that lose their memory before the first one is filled lose a sign-out as well.
        for worker in own_workers:
            checked = worker.invoke("check", "--all-up", "--timeout", "90")
            assert checked.exit_code == 0, checked.output
        browser = Browser()
        browser.ask(own_workers[0], "/set", {"name": "anna"})
        cookie = browser.cookie()
        with slow_request(own_workers[0], cookie):
            browser.ask(own_workers[1], "/logout", {})
            node.kill()
            node.restart()

        assert Browser(cookie).read(own_workers[0]) == {}


def test_an_oversize_session_fails_clearly_and_keeps_its_last_good_copy(nodes, workers, start):
    (worker,) = start(nodes)
    browser = Browser()
    browser.ask(worker, "/set", {"name": "anna"})

    answer = browser.send(worker.port, "/fill/2000000", {})

    assert answer.status == 500
    assert browser.read(workers[1]) == {"name": "anna"}
    worker.stop()
    assert "SessionTooLargeError" in worker.printed()
    assert "MSM_MAX_RECORD_SIZE" in worker.printed()


def test_without_any_node_requests_go_on_and_nothing_is_lost_when_they_return(own_nodes, start):
    (worker,) = start(own_nodes, **NOTICES)
    browser = Browser()
    browser.ask(worker, "/set", {"name": "anna"})
    cookie = browser.cookie()
    for node in own_nodes:
        node.pause()
    try:
        # From the copy of this host, if that was made by then.
        assert browser.read(worker) in ({}, {"name": "anna"})
    finally:
        for node in own_nodes:
            node.resume()

    assert browser.cookie() == cookie
    wait_until(lambda: browser.read(worker) == {"name": "anna"}, "the nodes are asked again")
