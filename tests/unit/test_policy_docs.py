"""The messages of policies in the documentation are the real ones."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from flask import session
from support.apps import make_app
from support.policies import warnings

from flask_msm import SerializationError
from flask_msm.policies import VERDICTS


ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")


def fail(policy, value):
    def add_to_cart():
        session.update(value)
        return "ok"

    shop = make_app(
        setup=lambda app: app.add_url_rule("/add", view_func=add_to_cart),
        MSM_SERIALIZATION_POLICY=policy,
    )
    shop.client.get("/add")


@pytest.fixture
def bad():
    return {"cart": [1, 2, 3, {"lock": threading.Lock()}]}


def test_the_log_line_shown_is_the_one_written(bad, caplog):
    fail("blacklist", bad)

    line, _, worker = warnings(caplog)[0].rpartition(" ")

    assert re.fullmatch(r"\[\S+:\d+\]", worker)
    assert f"WARNING flask_msm.events: {line} [web-1:2210]\n" in PAGE


@pytest.mark.parametrize("policy", sorted(VERDICTS.keys() - {"raise"}))
def test_the_table_names_the_event_that_a_policy_logs(policy, bad, caplog):
    fail(policy, bad)

    event = warnings(caplog)[0].partition(":")[0]
    assert re.search(rf"^\| `{policy}` \|.*\| `{event}` \|$", PAGE, re.MULTILINE)


def test_the_error_text_shown_is_that_of_the_error(bad):
    with pytest.raises(SerializationError) as raised:
        fail("raise", bad)

    assert f"flask_msm.errors.SerializationError: {raised.value}\n" in PAGE


@pytest.mark.parametrize("policy", VERDICTS)
def test_every_policy_has_a_line_in_the_table(policy):
    assert re.search(rf"^\| `{policy}`( \(default\))? \|", PAGE, re.MULTILINE)
