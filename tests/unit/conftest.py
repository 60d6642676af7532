"""Fixtures of unit tests that have a ``crew``: its workers, and what the audit log has."""

from __future__ import annotations

import logging

import pytest


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
