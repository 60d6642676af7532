"""Copies of recent sessions on this host, made behind the response."""

from __future__ import annotations

from flask import session
from support.apps import make_app

from flask_msm.record.keys import keyring


def test_of_a_session_that_waits_for_its_mirror_only_the_newest_is_copied(monkeypatch):
    shop = make_app(testing=False)
    mirror = shop.state.parts.cluster.mirror
    jobs = []
    monkeypatch.setattr(mirror._background, "put", lambda job: jobs.append(job) or True)

    for number in range(5):
        shop.do(lambda n=number: session.update(n=n))
    for job in jobs:
        job(0.0)

    local = shop.state.parts.local
    entry = local.find(shop.key(), keyring(shop.secrets))
    assert len(jobs) == 1
    assert entry.record.version == shop.token().version
