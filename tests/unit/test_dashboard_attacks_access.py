"""Attacks on the dashboard: answers of the access callable, and whom loopback lets in."""

from __future__ import annotations

from unittest.mock import ANY

import pytest
from support.dashboard import client_of, make_app, post, review

from flask_msm_dashboard import Access, loopback_only


class EqualToAll:
    """Like an expression of a query builder, or a mock."""

    def __eq__(self, other):
        return True

    __hash__ = None


class Incomparable:
    def __eq__(self, other):
        raise ValueError("the truth of this is not known")

    __hash__ = None


@pytest.mark.parametrize(
    "answer",
    [
        ANY,
        EqualToAll(),
        Incomparable(),
        b"write",
        ["write"],
        Access(ANY, "eve"),
        Access(EqualToAll(), "eve"),
        Access(["write"], "eve"),
        Access(Incomparable(), "eve"),
    ],
)
def test_an_object_that_only_compares_equal_to_an_answer_gives_no_access(answer):
    client, console = client_of(admin_access=lambda request: answer)

    assert client.get("/msm-admin/").status_code == 403
    assert console.views == 0


def test_who_got_in_does_not_open_it_for_the_next_in_the_same_application_context():
    app, _ = make_app(admin_access=lambda request: request.headers.get("X-Who"))

    # Many leave one pushed for good, against "working outside of application context".
    with app.app_context():
        client = app.test_client()
        let_in = client.get("/msm-admin/", headers={"X-Who": "write"}).status_code
        next_one = client.get("/msm-admin/").status_code

    assert (let_in, next_one) == (200, 403)


def test_a_reader_does_not_become_a_writer_by_the_same_name():
    levels = ["write"]
    client, console = client_of(admin_access=lambda request: Access(levels[0], "anna.k"))
    fields = {**review(client, "policy?value=local"), "reason": "x"}
    levels[0] = "read"

    assert post(client, "/msm-admin/act/policy", fields).status_code == 403
    assert console.calls == []


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Port": "443"},
        {"X-Forwarded-Prefix": "/"},
        {"X-Forwarded-Server": "front"},
        {"X-Client-IP": "192.0.2.1"},
        {"CF-Connecting-IP": "192.0.2.1"},
        {"Via": "1.1 front"},
        {"Host": "localhost.evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "evil.example#localhost"},
    ],
)
def test_loopback_only_refuses_headers_of_a_proxy_or_a_rebound_name(headers):
    client, _ = client_of(admin_access=loopback_only)

    assert client.get("/msm-admin/", headers=headers).status_code in {400, 403}
