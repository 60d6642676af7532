"""Fixtures of unit tests that have a ``crew``: its workers, and what the audit log has."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="module")
def no_upkeep_goes_on() -> Iterator[None]:
    """No file leaves an upkeep running: it draws random numbers, and Hypothesis minds that."""
    yield
    assert "APScheduler" not in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def one(crew):
    return crew.workers[0]


@pytest.fixture
def other(crew):
    return crew.workers[1]


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "flask_msm.audit")

    def lines():
        return [line.getMessage() for line in caplog.records if line.name == "flask_msm.audit"]

    return lines
