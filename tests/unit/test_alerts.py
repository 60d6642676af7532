"""MSM_ON_ALERT: each change of the verdict is told once for the fleet, and signed."""

from __future__ import annotations

import hmac
import json
from hashlib import sha256
from itertools import pairwise

import pytest
from support.crew import Crew
from support.receiver import Receiver

from flask_msm.errors import ConfigError
from flask_msm.operations import alerts
from flask_msm.operations.alerts import SIGNATURE, TRIES
from flask_msm.settings.settings import Settings


SECRET = "a secret of sixteen"[:16].replace(" ", "-")


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setattr(alerts, "PAUSE", 0.0)
    made = Receiver()
    yield made
    made.close()


def crew_with(target, count=3, **config):
    crew = Crew(count, MSM_ON_ALERT=target, MSM_ALERT_SECRET=SECRET, **config)
    ticks(crew, 4)
    return crew


def ticks(crew, count=6):
    for _ in range(count):
        crew.tick()


def test_a_fleet_that_is_well_is_no_news():
    told = []
    crew_with(told.append)

    assert told == []


def test_an_outage_and_its_end_are_told_once_for_the_fleet():
    told = []
    crew = crew_with(told.append)

    crew.nodes["n1"].fail()
    ticks(crew)
    (down,) = [alert for alert in told if alert["code"] == "nodes_down"]
    assert down["level"] in ("warn", "bad")
    assert "n1" in down["title"] + down["text"]
    (cause,) = [item for item in down["attention"] if item["code"] == "node_down"]
    assert (cause["href"], cause["since"] is not None) == ("nodes/n1", True)
    assert down["before"] == {"level": "ok", "code": told[0]["before"]["code"]}

    crew.nodes["n1"].heal()
    ticks(crew, 30)

    codes = [alert["code"] for alert in told]
    assert codes.count("nodes_down") == 1
    assert told[-1]["level"] == "ok"
    assert all(one != next_ for one, next_ in pairwise(codes))


def test_a_worker_that_takes_over_does_not_tell_again():
    told = []
    crew = crew_with(told.append)
    crew.nodes["n1"].fail()
    ticks(crew)
    before = len(told)

    first = min(crew.workers, key=lambda worker: worker.name)
    crew.workers.remove(first)
    ticks(crew, 30)

    assert [alert for alert in told[before:] if alert["code"] == "nodes_down"] == []


def test_what_is_posted_is_signed_with_the_secret(receiver):
    crew = crew_with(receiver.address)

    crew.nodes["n1"].fail()
    ticks(crew)

    path, headers, body = receiver.requests[0]
    assert path == "/hook"
    assert headers["Content-Type"] == "application/json"
    assert headers[SIGNATURE] == hmac.new(SECRET.encode(), body, sha256).hexdigest()
    assert json.loads(body)["text"].startswith("shop: ")


@pytest.mark.parametrize("status", [302, 404, 500])
def test_what_is_not_taken_is_tried_a_few_times_and_never_follows_elsewhere(
    receiver, caplog, status
):
    receiver.status = status

    failure = alerts.post(receiver.address, b"{}", b"key")
    assert failure == f"status {status}"
    crew = crew_with(receiver.address, count=1)
    crew.nodes["n1"].fail()
    ticks(crew)

    assert {path for path, _, _ in receiver.requests} == {"/hook"}
    assert (len(receiver.requests) - 1) % TRIES == 0
    assert "was not told" in caplog.text
    assert receiver.address not in caplog.text
    assert SECRET not in caplog.text


def test_a_callable_that_fails_is_logged_and_harms_no_tick(caplog):
    def broken(_):
        raise ValueError("broken")

    crew = crew_with(broken, count=1)
    crew.nodes["n1"].fail()
    ticks(crew)

    assert "MSM_ON_ALERT failed" in caplog.text
    assert "a tick failed" not in caplog.text


def test_a_queue_that_is_full_drops_alerts_and_says_so(caplog):
    crew = crew_with(lambda _: None, count=1)
    crew.workers[0].cluster.alerts.takes = False
    crew.nodes["n1"].fail()
    ticks(crew)

    assert "an alert was dropped" in caplog.text


@pytest.mark.parametrize(
    "target",
    [
        "http://example.com/hook",
        "https://user:password@example.com/",
        "ftp://127.0.0.1/",
        "https://",
        "/hook",
        "https://example.com/ hook",
        "https://example.com/hööks",
        "https://example.com/?channel=é",
        "https://example..com/",
        f"https://{'a' * 64}.example.com/",
        7,
    ],
)
def test_an_address_that_is_unsafe_or_cannot_be_asked_is_refused(target):
    with pytest.raises(ConfigError, match="MSM_ON_ALERT") as refused:
        Settings.from_mapping({"MSM_ON_ALERT": target, "MSM_ALERT_SECRET": SECRET}, app_name="shop")

    assert "password" not in str(refused.value).split("allowed", maxsplit=1)[0]


@pytest.mark.parametrize(
    "target",
    [
        "https://hooks.example.com/a",
        "https://hööks.example.com/a",
        "http://localhost:9/",
        "http://[::1]/",
        print,
    ],
)
def test_https_this_machine_and_callables_are_taken(target):
    config = {"MSM_ON_ALERT": target, "MSM_ALERT_SECRET": SECRET}

    assert Settings.from_mapping(config, app_name="shop").on_alert == target


def test_an_address_without_a_secret_is_refused():
    with pytest.raises(ConfigError, match="MSM_ALERT_SECRET"):
        Settings.from_mapping({"MSM_ON_ALERT": "https://example.com/"}, app_name="shop")
