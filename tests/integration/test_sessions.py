"""Sessions in real memcached processes, through real worker processes."""

from __future__ import annotations

import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from support.patience import NOTICES, PATIENT
from support.workers import Browser, Worker

from flask_msm.testing.memcached import HOW_TO_INSTALL, wait_until
from harness.memcached import Memcached


@pytest.fixture(scope="module")
def nodes():
    if shutil.which("memcached") is None:
        pytest.fail(HOW_TO_INSTALL, pytrace=False)
    with ExitStack() as stack:
        yield [stack.enter_context(Memcached()) for _ in range(3)]


def config_for(nodes, **config):
    spec = " ".join(f"n{number}:127.0.0.1:{node.port}" for number, node in enumerate(nodes, 1))
    return {"SECRET_KEY": "integration " * 3, "MSM_NODES": spec, **PATIENT, **config}


@pytest.fixture
def start():
    started = []

    def start_workers(count, config, *arguments):
        workers = [Worker(config, *arguments) for _ in range(count)]
        started.extend(workers)
        for worker in workers:
            worker.wait_ready()
        return workers

    yield start_workers
    for worker in started:
        worker.stop()


@pytest.fixture(scope="module")
def workers(nodes, tmp_path_factory):
    """Give two workers to all tests that break nothing."""
    config = config_for(nodes, MSM_LOCAL_DIR=str(tmp_path_factory.mktemp("local")))
    started = [Worker(config) for _ in range(2)]
    for worker in started:
        worker.wait_ready()
    yield started
    for worker in started:
        worker.stop()


@pytest.fixture
def own_nodes(memcached):
    return [memcached() for _ in range(3)]


@pytest.fixture
def own_workers(own_nodes, start):
    return start(2, config_for(own_nodes))


def command(node, line):
    """Return what a node answers to a command whose answer ends with END."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=60) as connection:
        connection.sendall(line.encode() + b"\r\n")
        answer = b""
        while not answer.endswith(b"END\r\n"):
            answer += connection.recv(65536)
    return answer


def keys_of(node):
    dump = command(node, "lru_crawler metadump hash")
    return {
        line.split()[0][4:].decode().replace("%3A", ":")
        for line in dump.splitlines()
        if line.startswith(b"key=")
    }


def session_keys(node):
    return {key for key in keys_of(node) if len(key.rpartition(":")[2]) == 40}


def test_a_session_written_by_one_worker_is_read_by_another(workers):
    browser = Browser()

    browser.ask(workers[0], "/set", {"name": "anna"})

    assert browser.read(workers[1]) == {"name": "anna"}


def test_changes_inside_a_value_are_saved(workers):
    browser = Browser()
    for number in range(4):
        browser.ask(workers[number % 2], "/append/cart", number)

    assert browser.read(workers[0]) == {"cart": [0, 1, 2, 3]}


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

    dump = b""
    for node in nodes:
        keys = keys_of(node)
        dump += "".join(keys).encode()
        for key in keys:
            dump += command(node, f"get {key}")

    assert b"anna" in dump
    assert sid.encode() not in dump
    assert cookie.split(".")[4].encode() not in dump


@pytest.mark.parametrize("restarted", [False, True], ids=["killed", "killed and restarted empty"])
def test_no_node_is_missed(own_nodes, own_workers, restarted):
    browsers = [Browser() for _ in range(6)]
    for number, browser in enumerate(browsers):
        browser.ask(own_workers[0], "/set", {"number": number})
    for node in own_nodes[:1]:
        node.kill()
        if restarted:
            node.restart()

    for number, browser in enumerate(browsers):
        assert browser.read(own_workers[number % 2]) == {"number": number}
        browser.ask(own_workers[0], "/set", {"more": number})
        assert browser.read(own_workers[1]) == {"number": number, "more": number}


def test_parallel_writers_of_different_attributes_all_survive(workers):
    browser = Browser()
    browser.ask(workers[0], "/set", {"name": "anna"})
    barrier = threading.Barrier(10)

    def write(number):
        tab = Browser()
        tab.cookies.update(browser.cookie())
        barrier.wait()
        tab.ask(workers[number % 2], "/set?slow=0.05", {f"w{number}": number})

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(write, range(10)))

    assert browser.read(workers[0]) == {"name": "anna"} | {f"w{n}": n for n in range(10)}


@pytest.fixture
def slow_request(tmp_path):
    """Return a function that has a request write only after what happens in its block."""

    @contextmanager
    def under_way(worker, cookie):
        gate = tmp_path / str(len(list(tmp_path.iterdir())))
        gate.mkdir()
        slow, answers = Browser(), []
        slow.cookies.update(cookie)
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(slow.ask, worker, f"/set?gate={gate}", {"late": 1})
            wait_until((gate / "began").exists, "the slow request has read its session")
            yield answers
            (gate / "go on").touch()
            answers.append(late.result())

    return under_way


def replayed(worker, cookie):
    replay = Browser()
    replay.cookies.update(cookie)
    return replay.read(worker)


def test_a_slow_request_does_not_undo_a_logout(workers, slow_request):
    browser = Browser()
    browser.ask(workers[0], "/set", {"name": "anna"})
    cookie = browser.cookie()

    with slow_request(workers[0], cookie) as answers:
        browser.ask(workers[1], "/logout", {})

    assert "Max-Age=0" in answers[0].headers["Set-Cookie"]
    assert replayed(workers[0], cookie) == replayed(workers[1], cookie) == {}


def test_a_slow_request_does_not_undo_a_logout_when_a_node_was_restarted(
    own_nodes, own_workers, slow_request
):
    for node in own_nodes:
        browser = Browser()
        browser.ask(own_workers[0], "/set", {"name": "anna"})
        cookie = browser.cookie()
        with slow_request(own_workers[0], cookie):
            browser.ask(own_workers[1], "/logout", {})
            node.kill()
            node.restart()

        assert replayed(own_workers[0], cookie) == {}


def test_an_oversize_session_fails_clearly_and_keeps_its_last_good_copy(nodes, workers, start):
    (worker,) = start(1, config_for(nodes))
    browser = Browser()
    browser.ask(worker, "/set", {"name": "anna"})

    response = browser.post(worker.url + "/fill/2000000", timeout=60)

    assert response.status_code == 500
    assert browser.read(workers[1]) == {"name": "anna"}
    worker.stop()
    assert b"SessionTooLargeError" in worker.log
    assert b"MSM_MAX_RECORD_SIZE" in worker.log


def test_without_any_node_requests_go_on_and_nothing_is_lost_when_they_return(own_nodes, start):
    (worker,) = start(1, config_for(own_nodes, **NOTICES))
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


def test_copies_behind_the_response_arrive(own_nodes, start):
    (worker,) = start(1, config_for(own_nodes, MSM_BACKUP_ASYNC=True))
    browser = Browser()
    browser.ask(worker, "/set", {"name": "anna"})

    def copies():
        return sorted(len(session_keys(node)) for node in own_nodes)

    wait_until(lambda: copies() == [0, 1, 1], "both copies are there")
