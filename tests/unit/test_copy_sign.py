"""The sign of a worker that has copies to make, as the other workers of its host see it."""

from __future__ import annotations

import os
import signal

import pytest

from flask_msm.storage.local.copy_sign import CopySign
from flask_msm.testing.memcached import wait_until


@pytest.fixture
def one(tmp_path):
    return CopySign(tmp_path)


@pytest.fixture
def other(tmp_path):
    return CopySign(tmp_path)


def test_a_sign_is_seen_by_others_until_it_is_hidden(one, other):
    one.show()
    assert other.is_shown()

    one.hide()
    assert not other.is_shown()


def test_a_worker_does_not_see_its_own_sign(one):
    one.show()

    assert not one.is_shown()


def test_a_sign_is_seen_as_long_as_any_worker_shows_one(tmp_path, one, other):
    one.show()
    other.show()
    one.hide()

    assert one.is_shown()
    assert CopySign(tmp_path).is_shown()


def test_a_child_takes_no_sign_from_its_parent_and_the_sign_of_a_killed_one_is_gone(one, other):
    other.show()
    child = os.fork()
    if not child:
        one.show()
        signal.pause()
    try:
        other.hide()
        wait_until(other.is_shown, "the child to show its sign")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    assert not other.is_shown()


def test_without_a_folder_no_sign_is_seen():
    alone = CopySign(None)
    alone.show()

    assert not alone.is_shown()


def test_without_room_for_the_file_no_sign_is_seen_and_nothing_fails(tmp_path):
    nowhere = CopySign(tmp_path / "nowhere")
    nowhere.show()

    assert not nowhere.is_shown()
