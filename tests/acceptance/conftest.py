"""Fixtures of the acceptance tests: real nodes, real workers."""

from __future__ import annotations

import shutil

import pytest
from support.fleet import Fleet

from flask_msm.testing.memcached import HOW_TO_INSTALL


@pytest.fixture
def fleet(tmp_path):
    if shutil.which("memcached") is None:
        pytest.fail(HOW_TO_INSTALL, pytrace=False)
    with Fleet(tmp_path) as made:
        yield made
        assert made.troubles() == []
