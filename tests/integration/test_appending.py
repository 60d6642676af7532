"""Changes appended on real memcached processes: in one round trip, also of a large session."""

from __future__ import annotations

import threading

import pytest
from flask import Flask, session

from flask_msm import MemcachedSessionManager
from flask_msm.record.segments import segments_in
from flask_msm.testing.memcached import wait_until
from scripts.calls import count_waits


pytestmark = pytest.mark.memcached


@pytest.fixture
def site(memcached):
    made = []

    def make(*arguments, nodes=None, **config):
        nodes = nodes or [memcached(*arguments) for _ in range(3)]
        app = Flask(__name__)
        app.config.update(
            SECRET_KEY="appending " * 8,
            MSM_NODES=" ".join(f"n{n}:127.0.0.1:{node.port}" for n, node in enumerate(nodes)),
            MSM_PROBE_INTERVAL=0.2,
            # A node that answers late was not scheduled. A change is appended only if there is
            # time for a whole answer before the deadline.
            MSM_TIMEOUT=2,
            MSM_CONNECT_TIMEOUT=2,
            MSM_REQUEST_DEADLINE=8,
            **config,
        )
        manager = MemcachedSessionManager(app)

        @app.get("/set/<name>/<int:size>")
        def put(name, size):
            session[name] = session.get(name, "")[:0] + "x" * size
            return ""

        @app.get("/names")
        def names():
            return ",".join(sorted(session))

        @app.get("/end")
        def end():
            session.destroy()
            return ""

        made.append((manager, app))
        app.test_client().get("/set/first/1")
        app.parts = manager.state(app).parts
        return app

    yield make
    for manager, app in made:
        manager.close(app)


def is_ready(app):
    cluster = app.parts.cluster
    return app.parts.record_format.current() == 2 and len(cluster.router.now.alone) == 3


def held(app):
    """Return what each node holds of the one session that there is."""
    found = {}
    for node_id, node in app.parts.cluster.nodes.items():
        deadline = app.parts.cluster.nodes[node_id]._endpoint.monotonic() + 1
        for key in node.metadump(app.parts.repository.rules.key_prefix, deadline):
            if ":fleet:" not in key:
                item = node.start_gets(key, deadline).result()
                found.setdefault(key, {})[node_id] = item.value
    return found


def begun(app, size):
    """Return a browser whose session has so many bytes in format 2."""
    client = app.test_client()
    client.get(f"/set/text/{size}")
    return client


def newest(app, before):
    (key,) = set(held(app)) - set(before)
    return key


@pytest.mark.parametrize("size", [300, 3_000, 300_000])
def test_a_change_is_a_read_and_one_round_trip_and_is_appended_to_both_copies(site, size):
    app = site(MSM_COMPRESS_ABOVE=0)
    wait_until(lambda: is_ready(app), "all workers read format 2")
    before = held(app)
    client = begun(app, size)
    key = newest(app, before)

    def change(number):
        assert client.get(f"/set/small/{number}").status_code == 200

    waits = min(count_waits(lambda n=n: change(n)) for n in range(1, 5))

    copies = held(app)[key]
    assert waits == 2
    assert len(copies) == 2
    for data in copies.values():
        assert 1 < len(list(segments_in(data))) <= 5
        assert app.parts.envelope.open(data, key).attributes.alive().keys() == {"text", "small"}
    assert client.get("/names").text == "small,text"


def test_nodes_that_evict_nothing_are_written_whole(site):
    app = site("-M")
    wait_until(lambda: is_ready(app), "all workers read format 2")
    before = held(app)
    client = begun(app, 3_000)
    client.get("/set/small/1")

    assert app.parts.cluster.router.now.growing == frozenset()
    for data in held(app)[newest(app, before)].values():
        assert len(list(segments_in(data))) == 1


def test_parallel_changes_of_one_session_all_arrive_and_no_copy_is_called_corrupt(
    site, memcached, caplog
):
    nodes = [memcached() for _ in range(3)]
    apps = [site(nodes=nodes) for _ in range(2)]
    for app in apps:
        wait_until(lambda app=app: is_ready(app), "all workers read format 2")
    before = held(apps[0])
    client = begun(apps[0], 3_000)
    key = newest(apps[0], before)
    cookie = client.get_cookie("session").value

    def work(number):
        for turn in range(15):
            browser = apps[number % 2].test_client()
            browser.set_cookie("session", cookie)
            assert browser.get(f"/set/w{number}t{turn}/1").status_code == 200

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    expected = {"text"} | {f"w{number}t{turn}" for number in range(4) for turn in range(15)}
    client.get("/set/last/1")
    for data in held(apps[0])[key].values():
        names = apps[0].parts.envelope.open(data, key).attributes.alive().keys()
        assert names == expected | {"last"}
    assert sum(app.parts.cluster.fast_path.writes for app in apps) > 0
    assert not [record for record in caplog.records if "corrupt" in record.getMessage()]


def test_without_the_fast_path_what_was_appended_is_read_and_folded(site, memcached):
    nodes = [memcached() for _ in range(3)]
    app = site(nodes=nodes)
    wait_until(lambda: is_ready(app), "all workers read format 2")
    before = held(app)
    client = begun(app, 3_000)
    client.get("/set/small/1")
    key = newest(app, before)

    back = site(nodes=nodes, MSM_FAST_PATH=False)
    browser = back.test_client()
    browser.set_cookie("session", client.get_cookie("session").value)
    assert browser.get("/names").text == "small,text"
    browser.get("/set/more/1")

    assert {data[2] for data in held(app)[key].values()} == {1}
    assert client.get("/names").text == "more,small,text"
