"""Workers that share their nodes, and attributes that cannot be stored."""

from __future__ import annotations

import threading

from flask import session
from support.apps import FakeManager, make_app
from support.clock import FakeClock
from support.fake_node import FakeNode


class SharedNodes(FakeManager):
    """A manager whose nodes other managers use, too."""

    def __init__(self, nodes, *, brought=None, **options) -> None:
        def shared(address):
            return nodes.setdefault(address.id, FakeNode(address.id))

        super().__init__(brought={"make_node": shared, **(brought or {})}, **options)


def make_workers(count=2, *, policy=None, codec=None, **config):
    """Return handles on *count* applications that use the same nodes."""
    nodes, clock = {}, FakeClock()
    return [
        make_app(
            clock=clock,
            manager=SharedNodes(nodes, clock=clock, policy=policy, codec=codec),
            **config,
        )
        for _ in range(count)
    ]


def visit(worker, action, cookie):
    """Run *action* at *worker* for the browser with *cookie*; return its answer and its cookie."""
    client = worker.browser(cookie)
    return worker.ask(action, client=client), worker.cookie(client)


def write(**values):
    return lambda: session.update(values)


def contents():
    return dict(session)


def warnings(caplog):
    """Return the warnings about attributes, without level and place."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("flask_msm") and record.levelname == "WARNING"
    ]


class FailingCodec:
    """Encodes text, and fails with a value that is an exception."""

    id = 7

    def dumps(self, value):
        if isinstance(value, BaseException):
            raise value
        return repr(value).encode()

    def loads(self, data):
        import ast

        return ast.literal_eval(data.decode())


def endless():
    """Return a list that contains itself."""
    items = []
    items.append(items)
    return items


LOCK = threading.Lock()
