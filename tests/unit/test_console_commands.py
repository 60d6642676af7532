"""What operators change for the fleet: checked, based on what they saw, and written down."""

from __future__ import annotations

import pytest
from support.apps import make_app
from support.clock import FakeClock
from support.crew import Crew, sealed

from flask_msm.cluster.control import CLEAR, ON_RECONNECT, PIN, POLICY
from flask_msm.errors import CommandError, ConflictError
from flask_msm.operations.console import MAX_CLEARS
from flask_msm.record.keys import keyring
from flask_msm.sessions.pins import MAX_PINS


ANNA = {"actor": "anna", "reason": "too many errors", "based_on": None}
UNTIL = 1e12


@pytest.fixture
def crew():
    made = Crew(2)
    made.tick()
    return made


def by(actor, reason="", based_on=None):
    return {"actor": actor, "reason": reason, "based_on": based_on}


def choose(worker, value, order=ANNA):
    return worker.console.set_policy(value, **order)


# -- choices -------------------------------------------------------------------------------------


def test_a_choice_holds_for_every_worker_after_its_next_tick(crew, one, other):
    done = choose(one, "blacklist")

    assert one.console.value(POLICY) == "blacklist"
    assert done.nodes == ("n1", "n2")
    crew.tick()
    assert other.console.value(POLICY) == "blacklist"
    assert crew.workers[1].state.repository.serialization.policy.name == "blacklist"


def test_who_when_and_why_stay_with_it(crew, one, other):
    choose(one, "local", by("anna", "a test"))
    crew.tick()

    choice = other.cluster.control.choice(POLICY)
    assert (choice.who, choice.why) == ("anna", "a test")
    assert abs(choice.at - crew.clock.now) < 5


def test_the_event_of_a_change_says_what_was_before_what_is_after_and_who_was_told(crew, one):
    choose(one, "local")
    one.console.drain("n1", **ANNA, force=True)
    crew.outage()
    crew.tick()
    choose(one, None)

    events = {
        (event.kind, event.before, event.after, event.result)
        for event in crew.workers[0].console.view().events
        if event.actor == "anna"
    }
    assert events == {
        ("policy_changed", "raise", "local", "told to n1, n2"),
        ("node_drained", "in use", "draining", "told to n1, n2"),
        ("policy_changed", "local", "raise (configuration)", "told to this host only"),
    }


def test_back_to_the_configuration_is_a_choice_that_wins_over_older_ones(crew, one, other):
    choose(one, "local")
    crew.tick()

    choose(other, None)
    crew.tick()

    for cluster in (one, other):
        assert cluster.console.value(POLICY) == "raise"
        assert cluster.cluster.control.choice(POLICY).value is None
        assert cluster.cluster.control.choice(POLICY).stamp


def test_a_later_choice_wins_whoever_makes_it(crew, one, other):
    for number, value in enumerate(("local", "stop", "blacklist", "raise")):
        choose((one, other)[number % 2], value)
    crew.tick()

    assert one.console.value(POLICY) == other.console.value(POLICY) == "raise"


@pytest.mark.parametrize("value", ["", "RAISE", "Local", "blacklist\n", "\x1b[31m", "x" * 10_000])
def test_a_value_that_is_not_allowed_is_refused_with_those_that_are(one, value):
    with pytest.raises(CommandError) as refused:
        choose(one, value)

    assert "raise, local, stop, blacklist" in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300
    assert one.console.value(POLICY) == "raise"


def test_a_change_of_what_somebody_else_changed_is_refused(crew, one, other, said):
    seen = str(other.cluster.control.choice(POLICY).stamp)
    choose(one, "local")
    before = len(said())

    # What the nodes know counts, not what this worker heard so far.
    with pytest.raises(ConflictError, match="policy was changed in the meantime"):
        choose(other, "stop", by("ben", "", seen))

    crew.tick()
    assert one.console.value(POLICY) == "local"
    assert len(said()) == before


def test_a_change_of_what_was_seen_is_made(crew, one, other):
    first = choose(one, "local", by("anna", "", "0"))

    second = choose(other, "stop", by("ben", "", first.stamp))

    assert int(second.stamp) > int(first.stamp)
    assert other.console.value(POLICY) == "stop"


def test_choices_do_not_get_in_each_others_way(one):
    choose(one, "local")
    one.console.set_on_reconnect("discard", **by("ben", "", "0"))
    one.console.stop(**by("cid", "", "0"))

    assert one.console.value(ON_RECONNECT) == "discard"
    assert one.cluster.mode.mode.value == "stopped"
    one.console.resume(**by("cid"))
    assert one.cluster.mode.mode.value == "distributed"


@pytest.mark.parametrize("how", ["by an operator", "by a policy"])
def test_who_has_not_heard_of_a_stop_does_not_say_that_a_session_is_not_there(
    crew, one, other, how
):
    one.cluster.bulk.kept = []
    if how == "by an operator":
        one.console.stop(**ANNA)
    else:
        one.cluster.reactions.stop_distribution("an attribute")

    assert (one.cluster.mode.mode.value, other.cluster.mode.mode.value) == (
        "stopped",
        "distributed",
    )
    assert not other.cluster.reactions.remembers({"n1", "n2"}, UNTIL)
    assert other.cluster.mode.mode.value == "stopped"

    one.cluster.bulk.kept = None
    one.console.resume(**ANNA)
    crew.tick()
    assert other.cluster.reactions.remembers({"n1", "n2"}, UNTIL)


def test_without_nodes_a_change_is_made_here_and_says_who_knows(crew, one):
    crew.outage()

    done = choose(one, "local")

    assert done.nodes == ()
    assert one.console.value(POLICY) == "local"


def test_a_node_that_only_others_can_read_was_not_told(crew, one):
    """An operator whose SECRET_KEY is an old one must not be told that all went well."""
    key = one.cluster.control.shared.key
    crew.nodes["n1"].put(key, sealed(key, {}, keys=keyring(("newer",))))

    assert choose(one, "local").nodes == ("n2",)


def test_a_choice_of_a_newer_version_is_shown_bounded_and_breaks_nothing(crew, one, other):
    worker = crew.workers[1]
    long = "quarantine\x1b" * 1000
    one.cluster.control.choose(POLICY, long, who="x" * 5000, why="\r\n" * 5000)
    one.cluster.control.choose(ON_RECONNECT, long, who="", why="")
    crew.tick()
    crew.tick()

    choice = other.cluster.control.choice(POLICY)
    assert worker.state.repository.serialization.policy.name == "raise"
    assert all(len(text) <= 200 and text.isprintable() for text in choice[0:1] + choice[3:])
    assert worker.console.view().policy.value == choice.value


@pytest.mark.parametrize("name", ["", "Policy", "pin:cart", "x\x1b" * 10_000])
def test_a_name_that_cannot_be_chosen_has_no_value(one, name):
    with pytest.raises(CommandError, match="policy, on_reconnect, distribution") as refused:
        one.console.value(name)

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 600


# -- nodes ---------------------------------------------------------------------------------------


def test_the_last_node_in_use_is_not_drained(one, said):
    one.console.drain("n1", **ANNA, force=True)
    before = len(said())

    with pytest.raises(CommandError, match="n2 is the last node in use"):
        one.console.drain("n2", **ANNA, force=True)

    assert set(one.cluster.control.drains()) == {"n1"}
    assert len(said()) == before


def test_draining_and_taking_back_look_at_what_was_seen(one):
    stamp = one.console.drain("n1", **by("anna", "", "0"), force=True).stamp

    for act in (one.console.drain, one.console.undrain):
        with pytest.raises(ConflictError):
            act("n1", **by("ben", "", "0"))
    one.console.undrain("n1", **by("ben", "", stamp))

    assert one.cluster.control.drains() == {}
    assert not one.cluster.control.standing("n1").trusted


def test_taking_back_a_node_in_use_does_not_cost_its_trust(one):
    done = one.console.undrain("n1", **ANNA)

    assert done.text == "n1 was in use already"
    assert one.cluster.control.standing("n1").trusted


def test_draining_a_drained_node_leaves_it_drained(one):
    """It may be switched off, and then no worker could finish draining it."""
    one.cluster.control.set_drain("n1", "drained", who="drain", why="all copied")

    done = one.console.drain("n1", **ANNA, force=True)

    assert done.text == "n1 was drained already"
    assert one.cluster.control.drains() == {"n1": "drained"}


@pytest.mark.parametrize("name", ["n9", "", "N1", "n1\x1b", "x" * 10_000])
def test_a_node_that_does_not_exist_is_refused(one, name):
    for act in (
        lambda: one.console.drain(name, **ANNA, force=True),
        lambda: one.console.undrain(name, **ANNA),
        lambda: one.console.probe(name, **ANNA),
        lambda: one.console.reset_circuit(name, **ANNA),
    ):
        with pytest.raises(CommandError) as refused:
            act()
        assert str(refused.value).isprintable()
        assert "n1, n2" in str(refused.value)


def test_a_node_that_does_not_exist_is_not_inspected(one):
    with pytest.raises(CommandError, match="there is no node 'n9'; there are n1, n2"):
        one.console.inspect(["n1", "n9"])


def test_the_outcome_of_a_probe_says_how_long_it_took_or_why_not(crew, one):
    answered = one.console.probe("n1", **ANNA)
    crew.nodes["n1"].fail()
    failed = one.console.probe("n1", **ANNA)

    assert answered.error is None
    assert answered.text == f"n1 answered in {answered.milliseconds:.1f} ms"
    assert failed.text == f"n1: {failed.error}"


def test_without_nodes_there_is_nothing_to_change_and_no_node_to_wait_for():
    console = make_app(0).state.console

    assert console.check() == (True, (), (), "")
    for act in (
        lambda: console.set_policy("local", **ANNA),
        lambda: console.forget_worker("gone", **ANNA),
        lambda: console.unpin("cart", **ANNA),
        lambda: console.probe("n1", **ANNA),
        lambda: console.inspect(["n1"]),
        lambda: console.value(POLICY),
    ):
        with pytest.raises(CommandError, match="MSM_NODES is not set"):
            act()


# -- pins and clears -----------------------------------------------------------------------------

NAMES = ("cart", "", "\x00\x1b[31m\n", "\ud800", "x" * 10_240, "a:b choice:c", "\u202egnp.exe")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_name_can_be_pinned_and_unpinned_for_the_fleet(crew, one, name, said):
    one.console.pin(name, **ANNA)
    crew.tick()
    for worker in crew.workers:
        assert name in worker.state.repository.serialization.pins

    one.console.unpin(name, **ANNA)
    crew.tick()
    for worker in crew.workers:
        assert name not in worker.state.repository.serialization.pins
    assert all(line.isprintable() and len(line) < 400 for line in said())


def test_pins_are_bounded(one):
    for number in range(MAX_PINS):
        one.cluster.control.choose(f"{PIN}{number}", "pinned", who="anna", why="")

    with pytest.raises(CommandError, match=f"{MAX_PINS} attributes are pinned"):
        one.console.pin("one more", **ANNA)


def test_clears_are_bounded_and_the_newest_stay(one):
    for number in range(MAX_CLEARS + 15):
        one.cluster.control.choose(f"{CLEAR}name {number}", "cleared", who="anna", why="")
    one.console.clear_blacklist(
        [f"name {number}" for number in range(MAX_CLEARS + 15, MAX_CLEARS + 20)], **ANNA
    )

    kept = {name for name, choice in one.cluster.control.choices(CLEAR).items() if choice.value}
    assert len(kept) == MAX_CLEARS
    assert f"name {MAX_CLEARS + 19}" in kept
    assert "name 0" not in kept


def test_all_that_operators_can_say_at_most_is_still_shared(crew, one, other):
    wordy = by("a" * 500, "\u00fc" * 500)
    for number in range(MAX_PINS):
        one.cluster.control.choose(
            f"{PIN}{number:03}" + "\u00e9" * 110, "pinned", who="a" * 200, why="\u00fc" * 200
        )
    for number in range(MAX_CLEARS):
        one.cluster.control.choose(
            f"{CLEAR}{number:03}" + "\u00e9" * 110, "cleared", who="a" * 200, why="\u00fc" * 200
        )

    assert choose(one, "local", wordy).nodes == ("n1", "n2")
    crew.tick()
    assert other.console.value(POLICY) == "local"


def note(worker, name):
    worker.state.repository.serialization.blacklist.note(
        name, "a.Type", path="x", error="E", reason="no", endpoint="e", added_by="blacklist"
    )


def listed(worker):
    return {entry.attribute for entry in worker.state.repository.serialization.blacklist.all()}


def test_exactly_what_is_named_is_cleared_everywhere(crew, one):
    for worker in crew.workers:
        for name in ("a", "b", "c"):
            note(worker, name)
    crew.tick()

    one.console.clear_blacklist(["a", "b"], **ANNA)
    crew.tick()

    assert [listed(worker) for worker in crew.workers] == [{"c"}, {"c"}]
    one.console.clear_blacklist(None, **ANNA)
    crew.tick()
    assert [listed(worker) for worker in crew.workers] == [set(), set()]
    note(crew.workers[1], "a")
    crew.tick()
    assert listed(crew.workers[1]) == {"a"}


def test_clearing_nothing_clears_nothing(crew, one):
    note(crew.workers[0], "a")

    one.console.clear_blacklist([], **ANNA)

    assert listed(crew.workers[0]) == {"a"}


@pytest.mark.parametrize("names", [[""], ["a", ""], [str(n) for n in range(MAX_CLEARS + 1)]])
def test_an_empty_name_does_not_clear_everything(crew, one, names):
    note(crew.workers[0], "a")

    with pytest.raises(CommandError):
        one.console.clear_blacklist(names, **ANNA)

    assert listed(crew.workers[0]) == {"a"}


def test_a_clear_by_a_clock_a_day_ahead_does_not_hide_what_comes_after(crew, one):
    odd = crew.hire(clock=FakeClock(crew.clock.now + 86_400))
    odd.cluster.monitor.tick()
    note(crew.workers[0], "before")
    odd.console.clear_blacklist(None, **ANNA)
    crew.tick()
    assert listed(crew.workers[0]) == set()

    crew.clock.advance(1)
    note(crew.workers[0], "after")
    crew.tick()
    crew.tick()

    assert listed(crew.workers[0]) == {"after"}
    shown = {entry.attribute for entry in crew.workers[0].console.view().blacklist}
    assert shown == {"after"}


# -- what is written down ------------------------------------------------------------------------


def test_every_change_is_one_line_of_audit_with_who_what_from_to_and_why(one, said):
    choose(one, "local")
    choose(one, None)
    one.console.stop(**ANNA)
    one.console.drain("n1", **ANNA, force=True)
    one.console.pin("cart", **ANNA)
    one.console.clear_blacklist(["cart"], **ANNA)

    who = "by anna (too many errors); told to n1, n2"
    assert said() == [
        f"policy_changed: policy: raise -> local, {who}",
        f"policy_changed: policy: local -> raise (configuration), {who}",
        f"distribution_changed: distribution: running -> stopped, {who}",
        f"node_drained: n1 is being drained, {who}",
        f"pinned: 'cart' is pinned, {who}",
        f"unblacklisted: 'cart' was removed from the blacklist, {who}",
    ]


def test_text_of_an_operator_cannot_forge_a_line(one, said):
    choose(one, "local", by("eve\nroot: all is well", "x\r\n\x1b[2J" + "y" * 5000))

    (line,) = said()
    assert line.isprintable()
    assert len(line) < 600


def test_a_change_is_an_event_with_its_id(one):
    done = choose(one, "local")

    assert one.state.parts.events.newest(1)[0].kind == "policy_changed"
    (event,) = [event for event in one.console.view().events if event.id == done.event]
    assert event.kind == "policy_changed"
    assert (event.actor, event.reason) == ("anna", "too many errors")
