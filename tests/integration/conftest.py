"""Fixtures that several tests of real workers share."""

from __future__ import annotations

import pytest
from support.town import Town


@pytest.fixture
def town_of(memcached, tmp_path):
    """Start nodes and the workers of one or two sites; end them all."""
    made = []

    def make(nodes=2, **config):
        made.append(Town([memcached() for _ in range(nodes)], tmp_path, **config))
        made[-1].start()
        return made[-1]

    yield make
    for town in made:
        town.stop()
