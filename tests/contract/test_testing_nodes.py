"""What a shop sees of nodes that fail on demand, in memory and as memcached processes alike."""

from __future__ import annotations

import errno
import os
import queue
import shutil
import socket
import threading
from pathlib import Path

import pytest
from flask import Flask, session

from flask_msm import MemcachedSessionManager, MsmSessionInterface, destroy
from flask_msm.testing import Nodes, holders, probe, same_browser, settle, stored, wait_for_mode
from flask_msm.testing.memcached import MemcachedProcess


FAULTS = ["kill", "refuse", "hang", "answer_garbage"]


@pytest.fixture(params=["memory", pytest.param("memcached", marks=pytest.mark.memcached)])
def nodes(request):
    with Nodes(real=request.param == "memcached") as nodes:
        yield nodes


@pytest.fixture
def shop(nodes):
    """Make a worker; end all of them."""
    made = []

    def make(interface=MsmSessionInterface, **config):
        app = Flask("shop")
        app.config.update(SECRET_KEY="test", TESTING=True, MSM_ADMIN=False)
        app.config.update(nodes.config(**config))
        MemcachedSessionManager(app, interface=interface)

        @app.post("/cart/<thing>")
        def add(thing):
            session.setdefault("cart", []).append(thing)
            return "ok"

        @app.get("/cart")
        def cart():
            return session.get("cart", [])

        @app.post("/logout")
        def logout():
            destroy()
            return "bye"

        made.append(app)
        return app

    yield make
    for app in made:
        MemcachedSessionManager().close(app)


@pytest.fixture
def client(shop):
    return shop().test_client()


class OwnName(MsmSessionInterface):
    """Calls the cookie otherwise than the configuration."""

    def get_cookie_name(self, app):
        return "own"


def test_the_name_of_the_cookie_is_that_of_the_session_interface(shop):
    client, other = shop(OwnName).test_client(), shop(OwnName).test_client()
    client.post("/cart/apple")

    same_browser(client, other)

    assert stored(client) == {"cart": ["apple"]}
    assert other.get("/cart").json == ["apple"]


@pytest.mark.parametrize(
    "config",
    [
        {"SERVER_NAME": "shop.example:5000"},
        {"SERVER_NAME": "shop.example", "TRUSTED_HOSTS": ["shop.example"]},
        {"SERVER_NAME": "shop.example", "SESSION_COOKIE_DOMAIN": ".example"},
        {"APPLICATION_ROOT": "/shop"},
        {"SESSION_COOKIE_PATH": "/cart"},
    ],
    ids=["server name", "trusted hosts", "domain", "root", "path"],
)
def test_the_cookie_is_found_whatever_host_and_path_it_is_for(shop, config):
    client, other = shop(**config).test_client(), shop(**config).test_client()
    client.post("/cart/apple")

    same_browser(client, other)

    assert stored(client) == {"cart": ["apple"]}
    assert len(holders(client)) == 2
    assert other.get("/cart").json == ["apple"]

    other.post("/cart/pear")
    same_browser(shop(**config).test_client(), other)

    assert other.get("/cart").json == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_session_survives_a_node_that_fails_and_its_change_is_seen_by_others(
    nodes, client, fault
):
    client.post("/cart/apple")
    first, *_ = holders(client)

    getattr(nodes, fault)(first)
    client.post("/cart/pear")

    assert client.get("/cart").json == ["apple", "pear"]
    assert stored(client) == {"cart": ["apple", "pear"]}
    assert first not in holders(client)


@pytest.mark.parametrize("fault", FAULTS)
def test_with_all_nodes_failing_others_see_nothing_and_after_the_return_everything(
    nodes, client, fault
):
    client.post("/cart/apple")
    settle(client.application)

    getattr(nodes, fault)()
    wait_for_mode(client.application, "local")
    client.post("/cart/pear")
    during = stored(client)
    nodes.heal()
    wait_for_mode(client.application, "distributed")

    assert during == {}
    assert stored(client) == {"cart": ["apple", "pear"]}


def test_a_worker_of_the_same_host_shares_local_storage_and_one_of_another_does_not(
    nodes, shop, client
):
    client.post("/cart/apple")
    settle(client.application)
    nodes.refuse()
    wait_for_mode(client.application, "local")
    here, there = shop().test_client(), shop(host="there").test_client()
    same_browser(client, here)
    same_browser(client, there)

    assert here.get("/cart").json == ["apple"]
    assert there.get("/cart").json == []


def test_a_refusing_node_keeps_what_it_holds_and_a_killed_one_does_not(nodes, client):
    client.post("/cart/apple")
    first, second = holders(client)

    nodes.refuse(first)
    nodes.heal(first)
    after_refusing = holders(client)
    nodes.kill(first)
    nodes.heal(first)

    assert after_refusing == (first, second)
    assert holders(client) == (second,)


def test_a_restarted_node_is_found_to_have_lost_its_memory(nodes, client, caplog):
    client.post("/cart/apple")
    probe(client.application)
    first, second = holders(client)

    nodes.restart(first)
    probe(client.application)

    assert holders(client) == (second,)
    assert f"{first} lost its memory" in caplog.text
    assert client.get("/cart").json == ["apple"]


def test_a_restarted_node_is_rebuilt_when_probes_are_on(nodes, shop):
    app = shop(probes=True)
    client = app.test_client()
    client.post("/cart/apple")
    first, second = holders(client)

    nodes.restart(first)
    report = MemcachedSessionManager().check(app, timeout=120)

    assert report.all_up, report
    assert {first, second} <= set(holders(client))


def test_a_command_sent_to_a_hanging_node_is_done_when_it_goes_on(nodes):
    node = nodes["n1"]
    with socket.create_connection((node.host, node.port), timeout=120) as connection:
        connection.sendall(b"version\r\n")
        assert connection.recv(64)
        connection.settimeout(0.2)
        nodes.hang("n1")
        connection.sendall(b"add a 0 0 1\r\nx\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(64)
        nodes.heal("n1")
        connection.settimeout(120)

        assert connection.recv(64) == b"STORED\r\n"


def test_the_port_of_a_node_that_refuses_cannot_be_bound(nodes):
    node = nodes["n1"]
    nodes.refuse("n1")

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((node.host, node.port), timeout=120)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((node.host, node.port))


def test_a_logged_out_session_is_stored_nowhere_else(client):
    client.post("/cart/apple")
    before = stored(client)
    cookie = client.get_cookie("session").value
    client.post("/logout")
    client.set_cookie("session", cookie)

    assert before
    assert stored(client) == {}


def test_a_client_without_a_session_has_no_holders_and_no_content(client):
    assert holders(client) == ()
    assert stored(client) == {}


def test_a_session_transaction_signs_a_browser_in_for_all_workers(shop, client):
    with client.session_transaction() as opened:
        opened["cart"] = ["gift"]
    other = shop().test_client()
    same_browser(client, other)

    assert client.get("/cart").json == ["gift"]
    assert other.get("/cart").json == ["gift"]


def test_a_browser_that_has_no_cookie_takes_it_from_the_other_client_as_well(shop, client):
    client.post("/cart/apple")
    other = shop().test_client()
    same_browser(client, other)
    client.delete_cookie("session")
    same_browser(client, other)

    assert other.get("/cart").json == []


def test_an_unknown_node_is_named_and_nothing_is_done(nodes):
    with pytest.raises(KeyError, match="no node 'n9'; there are n1, n2, n3"):
        nodes.kill("n1", "n9")

    with socket.create_connection((nodes["n1"].host, nodes["n1"].port), timeout=120):
        pass


def test_waiting_for_a_mode_that_does_not_come_says_which_it_is(client):
    with pytest.raises(AssertionError, match=r"'local'.*'distributed'"):
        wait_for_mode(client.application, "local", timeout=0.05)


def test_waiting_for_a_mode_that_does_not_exist_is_refused_at_once(client):
    with pytest.raises(ValueError, match="'lokal'; allowed: distributed, local, stopped"):
        wait_for_mode(client.application, "lokal")


@pytest.mark.parametrize("wait", [settle, probe, lambda app: wait_for_mode(app, "distributed")])
def test_work_behind_responses_is_waited_for(client, wait):
    began, done = threading.Event(), []
    client.post("/cart/apple")
    behind = client.application.extensions["msm"].parts.backgrounds[-1]

    def job(_):
        began.set()
        threading.Event().wait(0.1)
        done.append("done")

    behind.put(job)
    began.wait(60)
    wait(client.application)

    assert done


def test_nodes_leave_no_thread_and_no_port_behind():
    before = threading.active_count()
    with Nodes(2) as nodes:
        addresses = [(node.host, node.port) for node in nodes.values()]
        open_connections = [socket.create_connection(address) for address in addresses]
        nodes.hang("n1")

    assert threading.active_count() == before
    for connection, address in zip(open_connections, addresses, strict=True):
        connection.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)


def test_an_application_that_still_writes_behind_its_last_response_fails_no_test(monkeypatch):
    def rmdir(*_, **__):
        raise OSError(errno.ENOTEMPTY, "Directory not empty")

    with Nodes() as nodes:
        folder = Path(nodes.config()["MSM_LOCAL_DIR"])
        monkeypatch.setattr(os, "rmdir", rmdir)
    monkeypatch.undo()

    assert folder.is_dir()
    shutil.rmtree(folder.parent)


def test_nodes_that_are_not_started_say_so():
    with pytest.raises(RuntimeError, match="with Nodes"):
        Nodes(1).config()


def test_arguments_without_processes_are_refused():
    with pytest.raises(ValueError, match="real=True"):
        Nodes(1, "-c", "16")


def test_an_answer_of_a_process_that_ends_too_early_is_an_error():
    answers = queue.SimpleQueue()

    def ask(process):
        try:
            answers.put(process.ask("stats"))
        except OSError as error:
            answers.put(error)

    with socket.create_server(("127.0.0.1", 0)) as server:
        process = MemcachedProcess()
        process.port = server.getsockname()[1]
        threading.Thread(target=ask, args=(process,), daemon=True).start()
        connection, _ = server.accept()
        with connection:
            connection.recv(100)
            connection.sendall(b"STAT pid 1\r\n")

        assert isinstance(answers.get(timeout=60), ConnectionResetError)
