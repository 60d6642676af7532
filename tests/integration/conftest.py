"""Fixtures that several tests of real workers share."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from support.sites import Sites


#: Workers of each site.
WORKERS = 2


@pytest.fixture
def sites_of(memcached, tmp_path):
    """Start nodes and the workers of one or two sites; end them all."""
    with ExitStack() as stack:

        def make(names=("north", "south"), *, nodes=2, **config):
            servers = [memcached() for _ in range(nodes)]
            made = stack.enter_context(Sites(servers, tmp_path, **config))
            made.add(*names, workers=WORKERS)
            made.start()
            return made

        yield make
