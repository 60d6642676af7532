"""One line of the log for each condition and host, also beside a note of another version."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from flask_msm.cluster.conditions import PREFIX
from flask_msm.maintenance.host_log import NOTE, HostLog
from flask_msm.record.attributes import Attributes


FACTS = {"text": "n1 is full", "node": "n1", "error": False, "since": 5.0, "by": "worker"}


class Host:
    """A host with one worker, and what is noted there."""

    def __init__(self):
        self.noted = {}
        self.alone = True
        self.entries = {}
        self.log = HostLog(self, self)

    @property
    def attributes(self):
        return Attributes(self.entries, {}, 0)

    def values(self, prefix):
        return {
            name.removeprefix(prefix): entry for name, entry in self.entries.items() if entry[1]
        }

    def find(self, stamp=1, **facts):
        self.entries[f"{PREFIX}full:n1"] = stamp, json.dumps({**FACTS, **facts}).encode()

    def end(self, stamp):
        self.entries[f"{PREFIX}full:n1"] = stamp, None

    # -- local storage

    @contextmanager
    def alone_at(self, task):
        yield self.alone

    def get_blob(self, name):
        return self.noted.get(name)

    def put_blob(self, name, data):
        self.noted[name] = data

    def ticks(self, count=2):
        for _ in range(count):
            self.log.write()


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "flask_msm.events")
    return SimpleNamespace(all=lambda: [record.getMessage() for record in caplog.records])


def test_a_condition_is_logged_once_when_it_begins_and_once_when_it_ends(host, lines):
    host.find()
    host.ticks(4)
    host.end(2)
    host.ticks(4)

    assert lines.all() == ["full: n1 is full", "full_over: over: n1 is full"]


def test_a_condition_that_another_worker_of_the_host_has_logged_is_not_logged_again(host, lines):
    host.find()
    host.ticks()
    second = Host()
    second.noted, second.entries = host.noted, host.entries

    second.ticks()

    assert len(lines.all()) == 1


def test_while_another_worker_of_the_host_writes_the_log_this_one_waits_for_its_next_tick(
    host, lines
):
    host.find()
    host.alone = False
    host.ticks(3)
    assert lines.all() == []

    host.alone = True
    host.ticks(1)

    assert lines.all() == ["full: n1 is full"]


@pytest.mark.parametrize("note", [b"{", b"[1]", b'{"a": 1}', b'{"a": ["x", 1, "k", "t"]}', b"\xff"])
def test_a_note_that_cannot_be_read_counts_as_none(host, lines, note):
    host.noted[NOTE] = note
    host.find()

    host.ticks()

    assert lines.all() == ["full: n1 is full"]
    assert json.loads(host.noted[NOTE])


def test_a_condition_that_ended_before_it_was_logged_leaves_no_line(host, lines):
    host.end(2)

    host.ticks()

    assert lines.all() == []
