"""Marks on changed sessions: every worker has one of its own, as long as there are some."""

from __future__ import annotations

import os

import pytest

from flask_msm.storage.local import change_marks
from flask_msm.storage.local.change_marks import ChangeMarks


KEY = "msm:test:" + "a" * 40


@pytest.fixture
def worker(tmp_path):
    return lambda: ChangeMarks(tmp_path)


def test_a_worker_sees_that_another_one_changed_a_session(worker):
    one, other = worker(), worker()
    assert one.claim()
    assert other.claim()
    seen = one.seen(KEY)

    after = other.note_own(KEY, other.seen(KEY))

    assert one.seen(KEY) == after != seen


def test_a_worker_for_which_no_mark_is_left_marks_as_those_do_that_keep_nothing(
    worker, monkeypatch
):
    monkeypatch.setattr(change_marks, "LANES", 2)
    one, other = worker(), worker()
    assert one.claim()

    assert not other.claim()
    assert other.note_own(KEY, other.seen(KEY)) is None
    other.renew()
    seen = one.seen(KEY)
    other.note(KEY)
    assert one.seen(KEY) != seen


def test_a_mark_that_cannot_be_locked_is_left_out(worker, tmp_path):
    (tmp_path / "lane01").mkdir()
    one = worker()

    assert one.claim()
    assert one.note_own(KEY, one.seen(KEY))


def test_marks_are_kept_on_systems_that_cannot_reserve_room(worker, monkeypatch):
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    one = worker()

    assert one.claim()
    assert one.note_own(KEY, one.seen(KEY)) == one.seen(KEY)


def test_a_worker_that_claims_no_mark_makes_no_file(worker, tmp_path):
    worker().renew()

    assert list(tmp_path.iterdir()) == []


def test_marks_of_one_process_are_kept_in_memory():
    one = ChangeMarks(None)
    seen = one.seen(KEY)

    one.renew()
    one.note(KEY)

    assert not one.claim()
    assert one.seen(KEY) != seen


def test_a_worker_without_readable_marks_sees_others_each_time(worker):
    one = worker()  # it has claimed none

    assert len({one.seen(KEY) for _ in range(3)}) == 3


def test_a_worker_whose_files_were_removed_has_new_ones_after_a_renewal(worker, tmp_path):
    one = worker()
    assert one.claim()
    for place in tmp_path.iterdir():
        place.unlink()

    one.renew()

    other = worker()
    assert other.claim()
    assert other.note_own(KEY, other.seen(KEY)) == one.seen(KEY)


def test_numbers_of_marks_are_given_back_and_taken_again(worker, monkeypatch):
    monkeypatch.setattr(change_marks, "LANES", 2)
    for _ in range(3):
        one = worker()
        assert one.claim()
        one.forget()
