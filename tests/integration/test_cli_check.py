"""``flask msm check`` finds what makes rebuilds impossible, on real memcached processes."""

from __future__ import annotations

import json
import time

import pytest
from support.cli_operator import PREFIX, Operator

from flask_msm.cluster.common_nodes import CommonNodes
from flask_msm.maintenance.lease import COPIES, HISTORY
from flask_msm.operations import inspection
from flask_msm.record.keys import storage_key
from flask_msm.record.token import new_sid
from flask_msm.testing.memcached import wait_until


pytestmark = pytest.mark.memcached


@pytest.fixture
def operator_of(memcached):
    made = []

    def make(*arguments, nodes=None, **config):
        """Make an operator of three nodes, or of those of another; the last has *arguments*."""
        nodes = nodes or [memcached(), memcached(), memcached(*arguments)]
        made.append(Operator(nodes, **config))
        made[-1].work()
        return made[-1]

    yield make
    for operator in made:
        operator.close()


def store(operator, count):
    """Store *count* sessions through requests."""
    for number in range(count):
        with operator.worker.test_request_context() as context:
            context.session["number"] = number
            operator.worker.session_interface.save_session(
                operator.worker, context.session, operator.worker.response_class()
            )


def put(node, key, value):
    """Store *value* as another program would."""
    with node.connect() as connection, connection.makefile("rwb") as stream:
        stream.write(b"set %b 0 100 %d\r\n%b\r\n" % (key.encode(), len(value), value))
        stream.flush()
        assert stream.readline() == b"STORED\r\n"


def checked(operator, *arguments):
    """Return the exit code and what programs are told."""
    result = operator.run("check", "--json", *arguments)
    return result.exit_code, json.loads(result.stdout)


def test_a_sound_fleet_is_looked_at_and_nothing_is_to_be_done(operator_of):
    operator = operator_of()
    store(operator, 5)

    code, said = checked(operator)

    assert (code, said["all_up"], said["troubles"]) == (0, True, [])
    # Two copies of each session, and on each node what the fleet shares.
    assert said["looked_at"] >= 10 + 3
    assert "to do" not in operator.run("check").output


@pytest.mark.parametrize("arguments", [("-X",), ("-o", "no_lru_crawler")])
def test_a_node_that_does_not_list_its_keys_is_named(operator_of, arguments):
    operator = operator_of(*arguments)

    code, said = checked(operator)
    (trouble,) = said["troubles"]
    lines = operator.run("check").output.splitlines()

    assert (code, said["all_up"]) == (1, True)
    assert (trouble["node"], trouble["what"]) == ("n3", "not listed")
    assert "start memcached without -X" in trouble["text"]
    assert [line for line in lines if "to do" in line] == [f"to do: n3 {trouble['text']}"]
    assert lines[-1].startswith("do not restart a node now")


def test_a_node_that_gives_no_cas_ids_is_named(operator_of):
    operator = operator_of("-C")
    store(operator, 5)

    code, said = checked(operator)

    assert code == 1
    assert [(trouble["node"], trouble["what"]) for trouble in said["troubles"]] == [
        ("n3", "unguarded")
    ]
    assert "without -C" in said["troubles"][0]["text"]


def test_records_of_another_secret_under_the_prefix_are_counted(operator_of):
    theirs = operator_of(SECRET_KEY="of another deployment")
    store(theirs, 10)
    mine = operator_of(nodes=theirs.nodes)

    code, said = checked(mine)

    assert code == 1
    assert {trouble["what"] for trouble in said["troubles"]} == {"foreign"}
    text = said["troubles"][0]["text"]
    assert PREFIX in text
    assert "SECRET_KEY_FALLBACKS" in text
    assert "MSM_KEY_PREFIX" in text
    assert "another deployment" not in json.dumps(said)


def test_a_secret_among_the_fallbacks_is_not_foreign(operator_of):
    before = operator_of(SECRET_KEY="before")
    store(before, 10)
    after = operator_of(nodes=before.nodes, SECRET_KEY="after", SECRET_KEY_FALLBACKS=["before"])

    code, said = checked(after)

    assert (code, said["troubles"]) == (0, [])
    assert said["looked_at"] >= 20


def test_records_of_another_program_under_the_prefix_are_found_and_the_rest_left_alone(operator_of):
    operator = operator_of()
    put(operator.nodes[1], storage_key(PREFIX, new_sid()), b"not a record")
    put(operator.nodes[1], "elsewhere:" + storage_key(PREFIX, new_sid()), b"not looked at")
    put(operator.nodes[1], PREFIX + "something", b"not looked at")
    put(operator.nodes[1], PREFIX + "fleet:lease:n1", b"a word")

    code, said = checked(operator)

    assert code == 1
    assert [(one["node"], one["what"]) for one in said["troubles"]] == [("n2", "damaged")]
    assert said["troubles"][0]["text"].startswith("1 of ")


def test_what_one_worker_of_the_fleet_does_at_the_moment_is_no_damaged_record(
    operator_of, monkeypatch
):
    monkeypatch.setattr(CommonNodes, "end_turn", lambda *_: None)
    operator = operator_of()
    operator.cluster.copies._count()
    operator.cluster.history.look()
    digests = operator.console.observer._digests
    assert digests.lease(operator.cluster.monitor.membership.clock.monotonic() + 8)

    def leases():
        return {key for node in operator.nodes for key in node.all_keys() if ":lease" in key}

    wait_until(lambda: len(leases()) == len({COPIES, HISTORY, digests.key}), "all are at work")

    code, said = checked(operator)

    assert (code, said["troubles"]) == (0, [])


def test_a_drained_node_is_not_looked_at(operator_of):
    operator = operator_of("-X")
    operator.cluster.control.set_drain("n3", "drained", who="test", why="")
    operator.cluster.monitor.tick()

    assert checked(operator)[0] == 0


def test_no_more_records_are_looked_at_than_allowed(operator_of, monkeypatch):
    operator = operator_of()
    node = operator.nodes[0]
    for _ in range(200):
        put(node, storage_key(PREFIX, new_sid()), b"x" * 100)
    monkeypatch.setattr(inspection, "MAX_RECORDS", 50)

    _, said = checked(operator)

    assert 50 <= said["looked_at"] <= 50 + 2 * 10
    # The connection on which the rest of the list was coming is not used again.
    clients = operator.cluster.nodes
    until = time.monotonic() + 60
    assert len(clients["n1"].sample(PREFIX, 7, until)) == 7
    assert len(clients["n1"].metadump(PREFIX, until)) >= 200


def test_a_node_that_hangs_is_not_waited_for_longer_than_allowed(operator_of, monkeypatch):
    operator = operator_of()
    store(operator, 5)
    monkeypatch.setattr(inspection, "NODE_TIME", 0.3)
    operator.nodes[2].pause()
    try:
        # It would wait for as long as the node hangs.
        found = operator.worker.extensions["msm"].console.inspect(["n3"])
    finally:
        operator.nodes[2].resume()

    assert [trouble.what for trouble in found.troubles] == ["not looked at"]
