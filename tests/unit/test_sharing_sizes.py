"""What workers share fits into every node, or is cut, and that is reported once."""

from __future__ import annotations

import pytest
from support.crew import Crew

from flask_msm.cluster.ended_sessions import LISTED
from flask_msm.errors import NodeValueError


SMALL = 16 * 1024


def digest(number):
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 256):064x}"


@pytest.fixture
def crew():
    made = Crew(2)
    small = made.nodes["n2"]
    small.item_size_max = SMALL
    # Its own header counts, too.
    small.too_much = lambda key, value: len(key) + len(value) + 60 > SMALL
    made.tick()
    return made


def end(crew, numbers):
    """End sessions on the first worker."""
    endings = crew.workers[0].cluster.ended_sessions
    for number in numbers:
        endings.add(digest(number))
    crew.tick()


def known(worker):
    return set(worker.cluster.ended_sessions.shared.attributes.entries)


def maps(crew, ending):
    """Return what each node holds under the keys that end so, opened."""
    held = []
    for node in crew.nodes.values():
        for key, (value, _) in node.items.items():
            if key.endswith(ending):
                shared = crew.workers[0].cluster.ended_sessions.shared
                held.append(shared._envelope.open(value, key).attributes)
    return held


def events(crew, kind):
    found = [event for w in crew.workers for event in w.state.parts.events.newest()]
    return [event for event in found if event.kind == kind]


def test_of_more_sign_outs_than_the_smallest_node_takes_all_workers_know_the_newest(crew):
    count = LISTED
    for begin in range(0, count, 50):
        end(crew, range(begin, begin + 50))
    crew.tick()

    one, other = (known(worker) for worker in crew.workers)
    assert one == other
    assert 350 < len(one) < LISTED
    assert one == {digest(number) for number in range(count - len(one), count)}


def test_all_nodes_hold_the_same_cut_and_no_tick_writes_without_a_change(crew):
    end(crew, range(LISTED))
    crew.tick()
    held = maps(crew, "fleet:ended")
    assert len(held) == len(crew.nodes) == 2
    assert held[0] == held[1]
    crew.operations()

    for _ in range(4):
        crew.tick()

    writes = [name for name, _ in crew.operations() if name in ("add", "cas")]
    beats = 2 * 2 * len(crew.nodes)  # the workers themselves are announced now and then
    reports = 4 * len(crew.workers) * len(crew.nodes)
    assert len(writes) <= beats + reports
    assert maps(crew, "fleet:ended") == held


def test_a_map_that_was_cut_is_reported_once_with_the_name_of_the_node(crew):
    for begin in range(0, 2 * LISTED, 200):
        end(crew, range(begin, begin + 200))
    for _ in range(3):
        crew.tick()

    (event,) = events(crew, "map_cut")
    assert "sessions that ended" in event.text
    assert f"n2, which takes {SMALL} bytes" in event.text


def test_a_map_that_is_refused_does_not_keep_others_from_the_node(crew):
    small = crew.nodes["n2"]
    small.too_much = lambda key, value: key.endswith("fleet:control")
    crew.workers[0].cluster.control.choose("policy", "local", who="anna", why="test")
    for _ in range(3):
        end(crew, [1, 2, 3])

    assert {digest(1), digest(2), digest(3)} <= set(maps(crew, "fleet:ended")[1].entries)
    (event,) = events(crew, "map_refused")
    assert event.node == "n2"
    assert [c.subject for c in crew.workers[1].cluster.conditions.lasting()] == ["control n2"]

    small.too_much = lambda key, value: False
    for _ in range(8):
        crew.tick()

    assert len(events(crew, "map_refused_over")) == 1


def test_a_node_that_refuses_a_map_keeps_its_state(crew):
    crew.nodes["n2"].too_much = lambda key, value: ":fleet:" in key
    crew.workers[0].cluster.control.choose("policy", "local", who="anna", why="test")
    for _ in range(3):
        crew.tick()

    states = {view.state.value for view in crew.workers[0].cluster.state.view().values()}
    assert states == {"up"}


def test_a_node_that_tells_no_settings_is_shared_with(crew):
    node = crew.nodes["n1"]
    stats = node.stats

    def without_settings(deadline, *arguments):
        if arguments:
            raise NodeValueError("n1", "unknown")
        return stats(deadline)

    node.stats = without_settings
    node.items.clear()
    node.said["uptime"] = "0"
    late = crew.hire()
    crew.tick(late)

    assert any(key.endswith("fleet:control") for key in node.items)
    assert "n1" in late.cluster.monitor.prober.numbers
