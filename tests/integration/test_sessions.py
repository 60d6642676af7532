"""Sessions in real memcached processes, through real worker processes."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.workers import Browser, Worker


@pytest.fixture
def nodes(memcached):
    return [memcached() for _ in range(3)]


def config_for(nodes, **config):
    spec = " ".join(f"n{number}:127.0.0.1:{node.port}" for number, node in enumerate(nodes, 1))
    return {"SECRET_KEY": "integration " * 3, "MSM_NODES": spec, **config}


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


@pytest.fixture
def workers(nodes, start):
    return start(2, config_for(nodes))


def command(node, *lines):
    """Return what a node answers to a few commands, asked over a plain socket."""
    with socket.create_connection(("127.0.0.1", node.port), timeout=5) as connection:
        connection.sendall(b"".join(line.encode() + b"\r\n" for line in lines) + b"version\r\n")
        answer = b""
        while not (answer.endswith(b"\r\n") and b"VERSION " in answer.rpartition(b"\r\n")[0][-60:]):
            answer += connection.recv(65536)
    return answer


def keys_of(node):
    dump = command(node, "lru_crawler metadump all")
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
    browser = Browser()
    browser.ask(workers[0], "/set", {"name": "anna"})

    where = browser.ask(workers[1], "/where").json()

    assert sorted(len(session_keys(node)) for node in nodes) == [0, 1, 1]
    assert sorted(where["homes"]) == sorted(where["holders"])


def test_a_dump_of_the_nodes_holds_no_usable_cookie(nodes, workers):
    browser = Browser()
    browser.ask(workers[0], "/set", {"name": "anna"})
    sid = browser.ask(workers[0], "/sid").text
    cookie = browser.cookie()["session"]

    dump = b""
    for node in nodes:
        keys = keys_of(node)
        dump += "".join(keys).encode()
        dump += command(node, *(f"get {key}" for key in keys))

    assert b"anna" in dump
    assert sid.encode() not in dump
    assert cookie.split(".")[4].encode() not in dump


@pytest.mark.parametrize("restarted", [False, True], ids=["killed", "killed and restarted empty"])
def test_no_node_is_missed(nodes, workers, restarted):
    browsers = [Browser() for _ in range(6)]
    for number, browser in enumerate(browsers):
        browser.ask(workers[0], "/set", {"number": number})
    for node in nodes[:1]:
        node.kill()
        if restarted:
            node.restart()

    for number, browser in enumerate(browsers):
        assert browser.read(workers[number % 2]) == {"number": number}
        browser.ask(workers[0], "/set", {"more": number})
        assert browser.read(workers[1]) == {"number": number, "more": number}


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


def test_a_slow_request_does_not_undo_a_logout(workers):
    browser = Browser()
    browser.ask(workers[0], "/set", {"name": "anna"})
    cookie = browser.cookie()
    slow = Browser()
    slow.cookies.update(cookie)

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(slow.ask, workers[0], "/set?slow=1.0", {"late": 1})
        browser.ask(workers[1], "/logout", {})
        late.result()
    replay = Browser()
    replay.cookies.update(cookie)

    assert replay.read(workers[0]) == replay.read(workers[1]) == {}
    assert "session" not in slow.cookies


def test_a_slow_request_does_not_undo_a_logout_when_a_node_was_restarted_meanwhile(nodes, workers):
    for node in nodes:
        browser = Browser()
        browser.ask(workers[0], "/set", {"name": "anna"})
        cookie = browser.cookie()
        slow = Browser()
        slow.cookies.update(cookie)
        with ThreadPoolExecutor(1) as pool:
            late = pool.submit(slow.ask, workers[0], "/set?slow=1.0", {"late": 1})
            browser.ask(workers[1], "/logout", {})
            node.kill()
            node.restart()
            late.result()
        replay = Browser()
        replay.cookies.update(cookie)

        assert replay.read(workers[0]) == {}


def test_an_oversize_session_fails_clearly_and_keeps_its_last_good_copy(workers):
    browser = Browser()
    browser.ask(workers[0], "/set", {"name": "anna"})

    response = browser.post(workers[0].url + "/fill/2000000", timeout=20)

    assert response.status_code == 500
    assert browser.read(workers[1]) == {"name": "anna"}
    workers[0].stop()
    assert b"SessionTooLargeError" in workers[0].log
    assert b"MSM_MAX_RECORD_SIZE" in workers[0].log


def test_without_any_node_requests_go_on_and_nothing_is_lost_when_they_return(nodes, workers):
    browser = Browser()
    browser.ask(workers[0], "/set", {"name": "anna"})
    cookie = browser.cookie()
    for node in nodes:
        node.pause()
    try:
        assert browser.read(workers[0]) == {}
    finally:
        for node in nodes:
            node.resume()

    assert browser.cookie() == cookie
    until_back(browser, workers[0], {"name": "anna"})


def until_back(browser, worker, expected):
    """Nodes that failed are left alone for a moment."""
    for _ in range(200):
        if browser.read(worker) == expected:
            return
        threading.Event().wait(0.05)
    assert browser.read(worker) == expected


def test_copies_behind_the_response_arrive(nodes, start):
    (worker,) = start(1, config_for(nodes, MSM_BACKUP_ASYNC=True))
    browser = Browser()
    browser.ask(worker, "/set", {"name": "anna"})

    for _ in range(200):
        if sorted(len(session_keys(node)) for node in nodes) == [0, 1, 1]:
            break
        threading.Event().wait(0.02)

    assert sorted(len(session_keys(node)) for node in nodes) == [0, 1, 1]
