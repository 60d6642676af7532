"""A command is judged on what the cluster holds, not on what the worker happened to know.

Two workers of different hosts. The first changes something, and the other has not ticked since.
"""

from __future__ import annotations

import re
import threading
from types import SimpleNamespace

import pytest
from support.crew import BY, Crew
from support.dashboard import fields_in, post

from flask_msm.cluster.control import DISTRIBUTION, ON_RECONNECT, POLICY
from flask_msm.errors import CommandError, ConflictError
from flask_msm_dashboard import Access


#: Longer than the dashboard wants between two changes of a kind, seconds.
PAUSE = 6.0
FASTER = "changed it: nothing was changed again."


@pytest.fixture
def crew():
    made = Crew(2, MSM_ADMIN=True, MSM_ADMIN_ACCESS=lambda request: Access("write", "anna"))
    made.tick()
    made.tick()
    return made


@pytest.fixture
def one(crew):
    return crew.workers[0]


@pytest.fixture
def behind(crew):
    return crew.workers[1]


def review(worker, path):
    """Return the review page of a worker, and the fields of its form as a person sends them."""
    page = worker.browser().get(f"/msm-admin/act/{path}")
    assert page.status_code == 200, page.text
    word = re.search(r'for="word">\w+ <code>(\w+)</code>', page.text)
    fields = {**fields_in(page.text), "reason": "a test", "word": word[1] if word else ""}
    return SimpleNamespace(text=page.text, fields=fields)


def confirm(worker, path, reviewed):
    return post(worker.browser(), f"/msm-admin/act/{path.split('?')[0]}", reviewed.fields)


def held(worker):
    """Return what holds as a worker knows it, by what can be changed with a stamp."""
    cluster = worker.cluster
    names = (POLICY, ON_RECONNECT, DISTRIBUTION)
    drained = dict.fromkeys(cluster.control.drains(), "out of use")
    return {name: worker.console.value(name) for name in names} | drained


#: What the first worker does; the next step, which was reviewed there; what holds after both.
STEPS = {
    "stop and start": (
        lambda console, by: console.stop(**by),
        "resume",
        {DISTRIBUTION: "running"},
    ),
    "start and stop": (
        lambda console, by: console.resume(**by),
        "stop",
        {DISTRIBUTION: "stopped"},
    ),
    "a policy and another": (
        lambda console, by: console.set_policy("local", **by),
        "policy?value=blacklist",
        {POLICY: "blacklist"},
    ),
    "a policy and the configured one": (
        lambda console, by: console.set_policy("local", **by),
        "policy?value=configured",
        {POLICY: "raise"},
    ),
    "on-reconnect and back": (
        lambda console, by: console.set_on_reconnect("discard", **by),
        "on_reconnect?value=promote",
        {ON_RECONNECT: "promote"},
    ),
    "drain and restore": (
        lambda console, by: console.drain("n1", **by, force=True),
        "undrain?node=n1",
        {"n1": None},
    ),
    "restore and drain": (
        lambda console, by: console.undrain("n1", **by),
        "drain?node=n1",
        {"n1": "out of use"},
    ),
}
steps = pytest.mark.parametrize(("first", "path", "after"), STEPS.values(), ids=STEPS)


def ready_for(crew, path):
    """Have every worker know that the first node is drained, where a step restores it first."""
    if path.startswith("drain"):
        crew.workers[0].console.drain("n1", **BY, force=True)
        crew.tick()
        crew.tick()
        crew.clock.advance(PAUSE)


@steps
def test_a_worker_behind_takes_a_command_that_is_based_on_what_the_cluster_holds(
    crew, one, behind, first, path, after
):
    ready_for(crew, path)
    first(one.console, BY)
    # The fleet makes one change in so many seconds.
    crew.clock.advance(PAUSE)
    seen = review(one, path)

    done = confirm(behind, path, seen)

    assert done.status_code == 303, done.text
    for worker in (behind, crew.hire()):
        crew.tick(worker)
        assert {name: held(worker).get(name) for name in after} == after


@steps
def test_a_worker_behind_refuses_a_command_that_is_based_on_what_was_replaced(
    crew, one, behind, first, path, after
):
    """Also what it has shown itself, and still holds for true."""
    ready_for(crew, path)
    seen = review(behind, path)
    first(one.console, {**BY, "actor": "ben"})
    before = held(one)

    refused = confirm(behind, path, seen)

    assert refused.status_code == 409
    assert FASTER in refused.text
    crew.tick()
    assert held(one) == held(behind) == before


@steps
def test_a_worker_behind_shows_what_the_cluster_holds_before_something_is_done(
    crew, one, behind, first, path, after
):
    ready_for(crew, path)
    first(one.console, BY)

    shown = review(behind, path)

    assert shown.fields["based_on"] == review(one, path).fields["based_on"]
    crew.clock.advance(PAUSE)
    assert confirm(one, path, shown).status_code == 303


def test_the_question_names_the_value_that_the_cluster_holds(one, behind):
    one.console.set_policy("local", **BY)

    assert "Change from Local to Blacklist?" in review(behind, "policy?value=blacklist").text


def test_a_node_that_is_in_use_again_lets_a_worker_behind_drain_the_other(crew, one, behind):
    one.console.drain("n2", **BY, force=True)
    crew.tick()
    one.console.undrain("n2", **BY)

    done = confirm(behind, "drain?node=n1", review(behind, "drain?node=n1"))

    assert done.status_code == 303
    assert set(behind.cluster.control.drains()) == {"n1"}


def test_the_last_node_in_use_is_not_drained_by_a_worker_behind(one, behind):
    seen = review(behind, "drain?node=n1")
    one.console.drain("n2", **BY, force=True)

    assert confirm(behind, "drain?node=n1", seen).status_code == 400
    with pytest.raises(CommandError, match="n1 is the last node in use"):
        behind.console.drain("n1", **BY, force=True)
    assert set(behind.cluster.control.drains()) == {"n2"}


def test_a_form_that_was_sent_already_is_refused_by_every_worker(one, behind):
    seen = review(one, "policy?value=local")
    assert confirm(one, "policy", seen).status_code == 303

    for worker in (one, behind):
        refused = confirm(worker, "policy", seen)
        assert refused.status_code == 409, "also where the next change would have to wait"
        assert FASTER in refused.text


def test_who_was_too_late_may_look_and_try_again_when_the_fleet_may(crew, one, behind):
    seen = review(behind, "policy?value=local")
    one.console.set_policy("stop", **BY)
    assert confirm(behind, "policy", seen).status_code == 409
    crew.clock.advance(PAUSE)

    assert confirm(behind, "policy", review(behind, "policy?value=local")).status_code == 303


def test_of_two_commands_at_one_worker_the_second_is_judged_on_what_the_first_did(one):
    """Two threads, the second of which arrives when the first was judged and has not acted."""
    refused = []
    choose = one.cluster.control.choose

    def second():
        try:
            one.console.stop(actor="ben", reason="", based_on="0")
        except ConflictError:
            refused.append("ben")

    thread = threading.Thread(target=second)

    def choose_late(*args, **options):
        one.cluster.control.choose = choose
        thread.start()
        # It ends within this time unless it has to wait for the first.
        thread.join(0.2)
        return choose(*args, **options)

    one.cluster.control.choose = choose_late
    one.console.resume(actor="anna", reason="", based_on="0")
    thread.join()

    assert refused == ["ben"]
    assert one.console.value(DISTRIBUTION) == "running"


# -- workers -------------------------------------------------------------------------------------


def left_by(crew, name):
    """Have the fleet, but no worker of the test except a new one, know a worker that is gone."""
    late = crew.hire()
    late.cluster.workers.shared.put(name, b'{"at": 1}')
    crew.tick(late)
    return late


def test_a_worker_behind_forgets_one_that_only_the_cluster_knows(crew, behind):
    left_by(crew, "host:gone")

    done = confirm(behind, "forget", review(behind, "forget?worker=host:gone"))

    assert done.status_code == 303
    assert "host:gone" not in known_to_nodes(crew)


def test_a_worker_that_is_forgotten_is_forgotten_by_the_nodes_at_once(crew, one):
    left_by(crew, "host:gone")
    assert "host:gone" in known_to_nodes(crew)

    done = one.console.forget_worker("host:gone", **BY)

    assert done.nodes == ("n1", "n2")
    assert "host:gone" not in known_to_nodes(crew)
    assert {one.name, crew.workers[1].name} <= known_to_nodes(crew)


def test_a_worker_behind_does_not_forget_one_that_the_cluster_knows_to_live(crew, one, behind):
    """The list that it knows has it as gone; and it was announced again since."""
    shared = behind.cluster.workers.shared
    shared.put(one.name, b'{"gone": 1}', stamp=shared.stamp(one.name) + 1)
    one.cluster.workers.note_odd()
    crew.tick(one)
    assert not behind.cluster.workers.lives(one.name)
    behind.cluster.urgent.takes = False

    with pytest.raises(CommandError, match="lives"):
        behind.console.forget_worker(one.name, **BY)

    assert one.name in known_to_nodes(crew)


def known_to_nodes(crew):
    """Return the workers that nodes know, as a worker reads them that has just begun."""
    new = crew.hire()
    new.cluster.reactions.look()
    return set(new.cluster.workers.names())


# -- looking -------------------------------------------------------------------------------------


def test_a_look_without_nodes_shows_what_is_known_here(crew, one):
    one.console.set_policy("local", **BY)
    crew.outage()

    assert one.console.look().policy.value == "local"
    assert review(one, "policy?value=stop").fields["based_on"]


def test_a_look_takes_a_moment_however_long_a_node_may_take(crew, one):
    """No request waits for a node that hangs, and it has not failed for being slower than that."""
    deadlines = []
    for node in crew.nodes.values():
        gets = node.start_gets

        def noted(key, deadline, gets=gets):
            deadlines.append(deadline)
            return gets(key, deadline)

        node.start_gets = noted
    crew.nodes["n1"].hang()

    one.console.look()

    assert deadlines
    assert max(deadlines) <= one.clock.monotonic() + 0.25
    assert one.cluster.state.failures("n1") == (0, 0)


def test_a_look_does_not_ask_a_node_that_is_down(crew, one):
    crew.nodes["n1"].fail()
    crew.tick(one)
    crew.operations()

    one.console.look()

    assert not crew.nodes["n1"].asked
    assert crew.nodes["n2"].asked


def test_pages_that_only_show_ask_for_nothing_but_the_digest(crew, one):
    browser = one.browser()
    browser.get("/msm-admin/")
    one.cluster.urgent.takes = False
    crew.operations()

    for path in ("", "policy/", "nodes/n1", "workers/", "api/v1/state"):
        assert browser.get(f"/msm-admin/{path}").status_code == 200

    assert {name for name, _ in crew.operations()} <= {"gets"}
