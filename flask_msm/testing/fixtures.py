"""Fixtures for pytest.

Name them in the ``conftest.py`` at the root of your tests::

pytest_plugins = ["flask_msm.testing.fixtures"]
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from .memcached import HOW_TO_INSTALL
from .node_set import Nodes


@pytest.fixture
def msm_nodes() -> Iterator[Nodes]:
    """Three nodes in memory."""
    with Nodes() as nodes:
        yield nodes


@pytest.fixture
def msm_memcached() -> Iterator[Nodes]:
    """Three memcached processes; the test fails where there is no memcached."""
    if shutil.which("memcached") is None:
        pytest.fail(HOW_TO_INSTALL, pytrace=False)
    with Nodes(real=True) as nodes:
        yield nodes
