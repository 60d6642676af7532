"""Fixtures for all tests."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings
from support.signals import keep_ignored_signals_to_this_process

from flask_msm.memcached.client import MemcachedNode
from flask_msm.testing.fake_server import FakeServer
from flask_msm.testing.memcached import HOW_TO_INSTALL
from harness.memcached import Memcached


# The same examples in every run, however busy the machine; ``make audit`` looks for others.
settings.register_profile("steady", derandomize=True, deadline=None, database=None)
settings.load_profile("steady")

# The many processes that tests start need not compile what they import again and again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Servers that tests end by Ctrl-C or a signal must not inherit that it is ignored.
keep_ignored_signals_to_this_process()


#: Folders in which files take longest, in the order in which they begin: one that began last would
#: run alone.
SLOW = ("acceptance", "third_party", "browser", "model", "release", "integration", "fuzz")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Run in two processes more than there are processors: tests wait for other processes."""
    return min(len(os.sched_getaffinity(0)) + 2, 6)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that take longest first, so that all processes end at about the same time."""

    def place(item: pytest.Item) -> int:
        folder = item.path.parent.name
        return SLOW.index(folder) if folder in SLOW else len(SLOW)

    items.sort(key=place)


@pytest.fixture(autouse=True, scope="module")
def no_upkeep_goes_on() -> Iterator[None]:
    """No file leaves an upkeep running: it draws random numbers, and Hypothesis minds that."""
    before = _schedulers()
    yield
    assert not _schedulers() - before, "an application with nodes was not closed"


def _schedulers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "APScheduler"}


@pytest.fixture(autouse=True)
def local_storage(tmp_path_factory, monkeypatch) -> None:
    """Keep local storage of applications and their workers to one test."""
    folder = tmp_path_factory.mktemp("runtime")
    folder.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))


@pytest.fixture(autouse=True)
def loud_loggers() -> Iterator[None]:
    """Let a logger that a test has silenced speak again: applications of one name share it."""
    yield
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture
def memcached() -> Iterator[Callable[..., Memcached]]:
    """Start memcached processes, with the arguments of ``Memcached``; end them all."""
    if shutil.which("memcached") is None:
        pytest.fail(HOW_TO_INSTALL, pytrace=False)
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **options: Any) -> Memcached:
            return stack.enter_context(Memcached(*arguments, **options))

        yield start


@pytest.fixture
def node_at() -> Iterator[Callable[..., MemcachedNode]]:
    """Make clients of a memcached or a peer; take any option of ``MemcachedNode``."""
    with contextlib.ExitStack() as stack:

        def make(server: Memcached | FakeServer | None = None, **options: Any) -> MemcachedNode:
            where: dict[str, Any] = {}
            if isinstance(server, Memcached) and server.path is not None:
                where = {"path": str(server.path)}
            elif server is not None:
                where = {"host": server.host, "port": server.port}
            # A machine that is busy makes no node slow: who tests time-outs asks for shorter ones.
            limits = {"connect_timeout": 60, "timeout": 60, "pool_size": 8}
            node = MemcachedNode(options.pop("node_id", "n1"), **(where | limits | options))
            stack.callback(node.close)
            return node

        yield make
