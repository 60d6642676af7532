"""The messages of policies in the documentation are the real ones."""

from __future__ import annotations

import os
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


@pytest.mark.parametrize("policy", sorted(VERDICTS.keys() - {"raise"}))
def test_the_log_lines_shown_are_those_written(policy, bad, caplog):
    fail(policy, bad)

    assert f"WARNING flask_msm.events: {warnings(caplog)[0]}\n" in PAGE


def test_the_error_text_shown_is_that_of_the_error(bad):
    with pytest.raises(SerializationError) as raised:
        fail("raise", bad)

    assert f"flask_msm.errors.SerializationError: {raised.value}\n" in PAGE


def test_the_documented_messages_about_a_too_large_session_are_the_real_ones(caplog):
    picture = {"picture": os.urandom(1_500_000)}
    with pytest.raises(SerializationError) as raised:
        fail("raise", picture)
    fail("blacklist", picture)

    # How large the record becomes depends on when it is written.
    page = re.sub(r"takes \d+ bytes", "takes N bytes", PAGE)
    for text in (str(raised.value), warnings(caplog)[-1]):
        assert re.sub(r"takes \d+ bytes", "takes N bytes", text) in page


@pytest.mark.parametrize("policy", VERDICTS)
def test_every_policy_has_a_line_in_the_table(policy):
    assert re.search(rf"^\| `{policy}`( \(default\))? \|", PAGE, re.MULTILINE)
