"""How one worker sees one node: the table, the thresholds, the back-off, the rights."""

from __future__ import annotations

import pytest

from flask_msm.cluster.health import (
    TRANSITIONS,
    Health,
    NodeState,
    Observation,
    Permissions,
    Signal,
    Thresholds,
    advance,
    effective_state,
    rights,
)


UP, SUSPECT, DOWN, RECOVERING = (
    NodeState.UP,
    NodeState.SUSPECT,
    NodeState.DOWN,
    NodeState.RECOVERING,
)
SEEN_STATES = (UP, SUSPECT, DOWN, RECOVERING)
PROBES = {Observation.PROBE_SUCCESS, Observation.PROBE_SOFT, Observation.PROBE_HARD}
REQUESTS = set(Observation) - PROBES
LIMITS = Thresholds(failures=3, recoveries=2, backoff=2.0, max_backoff=30.0)


def after(health, *observations, last=False, limits=LIMITS, now=100.0, jitter=1.0, error="why"):
    for observation in observations:
        health = advance(
            health, observation, limits, now=now, last=last, jitter=jitter, error=error
        )
    return health


def case(state, signal):
    """Return a health and the observation and limits that are *signal* to it, if there is one."""
    health = Health(state=state, since=1.0)
    few, many = LIMITS._replace(recoveries=1), LIMITS._replace(recoveries=9)
    probes = state in (DOWN, RECOVERING)
    return {
        Signal.ANSWERED: (health, Observation.SUCCESS, LIMITS),
        # A node that is down, or on its way back, has no doubts about it left: a failed probe is
        # a loss. Results of requests to a node that is down change nothing.
        Signal.SOFT_FAILURE: (health, Observation.SOFT, LIMITS),
        Signal.LOST: (health, Observation.PROBE_SOFT if probes else Observation.HARD, LIMITS),
        Signal.SEEN: (health, Observation.PROBE_SUCCESS, many),
        Signal.RECOVERED: (health, Observation.PROBE_SUCCESS, few),
    }[signal]


# -- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", Signal)
@pytest.mark.parametrize("state", SEEN_STATES)
def test_every_row_of_the_table_is_what_happens(state, signal):
    health, observation, limits = case(state, signal)

    moved = after(health, observation, limits=limits)

    assert moved.state is TRANSITIONS[state][signal]
    assert moved.since == (1.0 if moved.state is state else 100.0)


@pytest.mark.parametrize(
    ("state", "signal", "expected"),
    [
        (UP, Signal.ANSWERED, UP),
        (UP, Signal.SOFT_FAILURE, SUSPECT),
        (UP, Signal.LOST, DOWN),
        (UP, Signal.SEEN, UP),
        (UP, Signal.RECOVERED, UP),
        (SUSPECT, Signal.ANSWERED, UP),
        (SUSPECT, Signal.SOFT_FAILURE, SUSPECT),
        (SUSPECT, Signal.LOST, DOWN),
        (SUSPECT, Signal.SEEN, UP),
        (SUSPECT, Signal.RECOVERED, UP),
        (DOWN, Signal.ANSWERED, DOWN),
        (DOWN, Signal.SOFT_FAILURE, DOWN),
        (DOWN, Signal.LOST, DOWN),
        (DOWN, Signal.SEEN, RECOVERING),
        (DOWN, Signal.RECOVERED, UP),
        (RECOVERING, Signal.ANSWERED, RECOVERING),
        (RECOVERING, Signal.SOFT_FAILURE, RECOVERING),
        (RECOVERING, Signal.LOST, DOWN),
        (RECOVERING, Signal.SEEN, RECOVERING),
        (RECOVERING, Signal.RECOVERED, UP),
    ],
)
def test_the_table_says_what_the_design_says(state, signal, expected):
    assert TRANSITIONS[state][signal] is expected


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("observation", Observation)
@pytest.mark.parametrize("state", SEEN_STATES)
def test_every_observation_has_an_answer_in_every_state(state, observation, last):
    moved = after(Health(state=state), observation, last=last)

    assert moved.state in SEEN_STATES


# -- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("observation", [Observation.SOFT, Observation.PROBE_SOFT])
@pytest.mark.parametrize("failures", [1, 2, 3, 5])
def test_soft_failures_count_when_there_are_enough_in_a_row(failures, observation):
    limits = LIMITS._replace(failures=failures)
    health = Health()

    for number in range(1, failures):
        health = after(health, observation, limits=limits)
        assert (health.state, health.doubts) == (SUSPECT, number)

    assert after(health, observation, limits=limits).state is DOWN


@pytest.mark.parametrize("success", [Observation.SUCCESS, Observation.PROBE_SUCCESS])
def test_one_success_ends_a_row_of_soft_failures(success):
    soft = Observation.SOFT

    health = after(Health(), soft, soft, success)
    assert (health.state, health.doubts) == (UP, 0)

    assert after(health, soft, soft).state is SUSPECT
    assert after(health, soft, soft, soft).state is DOWN


def test_soft_failures_of_requests_never_take_the_last_node_down():
    health = after(Health(), *[Observation.SOFT] * 100, last=True)

    assert (health.state, health.doubts) == (SUSPECT, 100)


def test_failed_probes_take_the_last_node_down():
    health = after(Health(), *[Observation.SOFT] * 100, last=True)

    assert after(health, Observation.PROBE_SOFT, last=True).state is DOWN
    assert after(Health(), *[Observation.PROBE_SOFT] * 3, last=True).state is DOWN


def test_the_last_failure_is_kept_with_its_reason():
    assert after(Health(), Observation.SOFT, error="timed out").error == "timed out"
    assert after(Health(), Observation.HARD, error="refused").error == "refused"
    down = Health(state=DOWN, error="refused")
    assert after(down, Observation.SOFT, error="timed out").error == "timed out"
    assert after(down, Observation.SOFT, error="").error == "refused"


# -- the way back --------------------------------------------------------------------------------


@pytest.mark.parametrize("recoveries", [1, 2, 3, 5])
def test_a_node_is_back_after_enough_good_probes_in_a_row(recoveries):
    limits = LIMITS._replace(recoveries=recoveries)
    health = Health(state=DOWN, losses=4)

    for number in range(1, recoveries):
        health = after(health, Observation.PROBE_SUCCESS, limits=limits)
        assert (health.state, health.good_probes, health.losses) == (RECOVERING, number, 4)
    health = after(health, Observation.PROBE_SUCCESS, limits=limits)

    assert (health.state, health.good_probes, health.losses) == (UP, 0, 0)


@pytest.mark.parametrize("failure", [Observation.PROBE_SOFT, Observation.PROBE_HARD])
def test_one_failed_probe_on_the_way_back_is_a_loss_and_the_count_begins_anew(failure):
    limits = LIMITS._replace(recoveries=3)
    good = Observation.PROBE_SUCCESS

    health = after(Health(state=DOWN, losses=1), good, good, failure, limits=limits)
    assert (health.state, health.good_probes, health.losses) == (DOWN, 0, 2)

    assert after(health, good, good, limits=limits).state is RECOVERING
    assert after(health, good, good, good, limits=limits).state is UP


def test_a_soft_failure_of_a_request_on_the_way_back_makes_the_count_begin_anew():
    good = Observation.PROBE_SUCCESS

    health = after(Health(state=DOWN), good, Observation.SOFT, good)
    assert health.state is RECOVERING

    assert after(health, good).state is UP


# -- being left alone ----------------------------------------------------------------------------


def test_the_time_a_node_is_left_alone_doubles_up_to_the_maximum():
    health, now, pauses = Health(), 1000.0, []
    for _ in range(7):
        health = after(health, Observation.PROBE_HARD, now=now)
        pauses.append(health.retry_at - now)
        now = health.retry_at

    assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


@pytest.mark.parametrize(
    ("jitter", "pauses"),
    [
        (0.0, [1.5, 3.0, 6.0, 12.0, 22.5, 22.5]),
        (0.5, [1.75, 3.5, 7.0, 14.0, 26.25, 26.25]),
        (1.0, [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]),
    ],
)
def test_chance_spreads_the_attempts_of_several_workers_below_the_maximum(jitter, pauses):
    health, found = Health(), []
    for _ in pauses:
        health = after(health, Observation.PROBE_HARD, jitter=jitter)
        found.append(health.retry_at - 100.0)

    assert found == pauses


def test_the_back_off_begins_anew_once_a_node_was_up():
    health = after(Health(), *[Observation.PROBE_HARD] * 5)
    health = after(health, *[Observation.PROBE_SUCCESS] * 2)
    assert health.state is UP

    assert after(health, Observation.HARD).retry_at == 102.0


# -- an operator's word --------------------------------------------------------------------------


@pytest.mark.parametrize("state", SEEN_STATES)
def test_a_drained_node_is_drained_in_every_seen_state(state):
    assert effective_state(state, "drained") is NodeState.DRAINED


@pytest.mark.parametrize("state", [UP, SUSPECT, RECOVERING])
def test_a_node_that_is_being_drained_is_shown_so_while_it_answers(state):
    assert effective_state(state, "draining") is NodeState.DRAINING


def test_a_node_that_is_being_drained_and_does_not_answer_is_down():
    assert effective_state(DOWN, "draining") is DOWN


# -- rights --------------------------------------------------------------------------------------

RIGHTS = {
    # (state, trusted): read alone, read joined, written, may say "missing"
    (UP, True): (True, True, True, True),
    (UP, False): (False, True, True, False),
    (SUSPECT, True): (False, True, True, False),
    (SUSPECT, False): (False, True, True, False),
    (RECOVERING, True): (False, True, True, False),
    (RECOVERING, False): (False, True, True, False),
    (NodeState.DRAINING, True): (False, True, False, False),
    (NodeState.DRAINING, False): (False, True, False, False),
    (DOWN, True): (False, False, False, False),
    (DOWN, False): (False, False, False, False),
    (NodeState.DRAINED, True): (False, False, False, False),
    (NodeState.DRAINED, False): (False, False, False, False),
}


def test_the_table_of_rights_has_every_state():
    assert {state for state, _ in RIGHTS} == set(NodeState)


@pytest.mark.parametrize(("state", "trusted"), RIGHTS)
def test_the_rights_are_those_of_the_design(state, trusted):
    assert rights(state, trusted=trusted) == Permissions(*RIGHTS[state, trusted])
