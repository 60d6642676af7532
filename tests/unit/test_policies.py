"""Policies: a failure goes in, a verdict comes out, and nothing else happens."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from flask_msm import ConfigError, MemcachedSessionManager
from flask_msm.policies import (
    Failure,
    KeepLocal,
    PolicyInForce,
    Reraise,
    StopDistribution,
    StoreNone,
)


FAILURE = Failure(
    attribute="cart",
    path="cart[3].lock",
    type_name="_thread.lock",
    error="EncodeError",
    reason="not a type the codec takes",
    endpoint="view",
)


def in_force(name, **options):
    return PolicyInForce(lambda: name, **options)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("raise", Reraise()),
        ("local", KeepLocal()),
        ("stop", StopDistribution()),
        ("blacklist", StoreNone()),
    ],
)
def test_every_policy_has_one_verdict(name, verdict):
    policy = in_force(name)

    assert policy.verdict(FAILURE) == verdict
    assert type(policy.verdict(FAILURE)) is type(verdict)
    assert policy.name == name


def test_verdicts_of_different_kinds_differ():
    assert len({Reraise(), StoreNone(), KeepLocal(), StopDistribution()}) == 4
    assert Reraise() != StoreNone()


def test_a_failure_cannot_be_changed_and_says_whether_the_session_is_too_large():
    with pytest.raises(FrozenInstanceError):
        FAILURE.path = "elsewhere"

    assert not FAILURE.too_large


def test_the_configured_policy_is_asked_for_each_failure():
    names = iter(["raise", "blacklist"])
    policy = PolicyInForce(lambda: next(names))

    assert [policy.verdict(FAILURE) for _ in range(2)] == [Reraise(), StoreNone()]


def test_a_policy_chosen_at_run_time_counts_before_all_else_until_it_is_taken_back():
    choice = None
    policy = in_force("raise", custom=lambda _: StoreNone(), chosen=lambda: choice)
    assert policy.name == "custom"
    assert policy.verdict(FAILURE) == StoreNone()

    choice = "local"
    assert policy.name == "local"
    assert policy.verdict(FAILURE) == KeepLocal()

    choice = None
    assert policy.verdict(FAILURE) == StoreNone()


def test_a_choice_that_is_not_known_here_is_no_choice():
    assert in_force("blacklist", chosen=lambda: "of a newer version").name == "blacklist"


def test_a_custom_policy_gets_the_failure():
    seen = []

    def policy(failure):
        seen.append(failure)
        return KeepLocal()

    assert in_force("raise", custom=policy).verdict(FAILURE) == KeepLocal()
    assert seen == [FAILURE]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "returned an object of type NoneType"),
        ("blacklist", "returned an object of type str"),
        (StoreNone, "returned the class StoreNone, not an object of it"),
    ],
)
def test_the_answer_of_a_custom_policy_is_checked(answer, said):
    policy = in_force("raise", custom=lambda _: answer)

    with pytest.raises(ConfigError, match=said) as raised:
        policy.verdict(FAILURE)

    assert "Reraise(), StoreNone(), KeepLocal() or StopDistribution()" in str(raised.value)


def test_a_custom_policy_that_raises_is_named_as_the_culprit():
    def policy(_):
        raise KeyError("secret")

    with pytest.raises(ConfigError, match="policy is 'raised KeyError'") as raised:
        in_force("raise", custom=policy).verdict(FAILURE)

    assert "secret" not in str(raised.value)
    assert isinstance(raised.value.__cause__, KeyError)


def test_a_policy_that_is_no_callable_is_refused_when_the_application_is_set_up():
    from flask import Flask

    app = Flask("shop")
    app.testing = True

    with pytest.raises(ConfigError, match="an object of type str"):
        MemcachedSessionManager(app, policy="blacklist")
