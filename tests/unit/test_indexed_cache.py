"""A cache of the application as local storage: what is known of it beside what it holds."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from flask_msm.storage.local.cache import Limits
from flask_msm.storage.local.memory import IndexedCache


KEY, OTHER = "msm:test:" + "a" * 40, "msm:test:" + "b" * 40


class Cache(dict):
    """What cachelib offers, without expiry of its own."""

    def set(self, key, data, timeout):
        self[key] = data
        return True

    def delete(self, key):
        return self.pop(key, None) is not None


class Locks:
    """Locks of sessions, some of which others hold."""

    def __init__(self):
        self.busy = set()

    @contextmanager
    def hold(self, key, *, wait):
        yield key not in self.busy


@pytest.fixture
def site():
    cache, locks = Cache(), Locks()
    indexed = IndexedCache(cache, Limits(sessions=10, size=1000), set(), locks)
    return SimpleNamespace(cache=cache, locks=locks, indexed=indexed)


def test_what_has_expired_is_removed_when_the_cache_has_forgotten_it(site):
    site.indexed.set(KEY, b"1", 0)
    site.indexed.set(OTHER, b"1", 100)
    del site.cache[KEY]

    assert site.indexed.trim() == 0

    assert site.indexed.digests() == ["b" * 40]
    assert site.indexed.usage().sessions == 1


def test_what_another_process_has_stored_again_meanwhile_stays(site):
    site.indexed.set(KEY, b"1", 0)
    site.cache[KEY] = b"2"

    site.indexed.trim()

    assert site.indexed.digests() == ["a" * 40]
    assert site.indexed.get(KEY) == b"2"


def test_what_is_stored_again_while_it_is_looked_at_stays(site, monkeypatch):
    site.indexed.set(KEY, b"1", 0)
    site.cache.clear()
    really = Cache.get

    def stored_again(cache, key):
        found = really(cache, key)
        monkeypatch.setattr(Cache, "get", really)
        site.indexed.set(KEY, b"2", 100)
        return found

    monkeypatch.setattr(Cache, "get", stored_again)

    site.indexed.trim()

    assert site.indexed.get(KEY) == b"2"


def test_what_expired_and_is_being_written_is_left_to_the_next_time(site):
    site.indexed.set(KEY, b"1", 0)
    site.cache.clear()
    site.locks.busy.add(KEY)

    site.indexed.trim()

    assert site.indexed.digests() == ["a" * 40]


def test_no_more_is_removed_while_the_least_needed_session_is_being_written(site):
    for number in range(12):
        site.indexed.set(f"msm:test:{number:040}", b"1", 100)
    site.locks.busy.add(f"msm:test:{0:040}")

    site.indexed.evict()

    assert site.indexed.usage().sessions == 12
