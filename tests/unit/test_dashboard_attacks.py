"""What an attacker would try at the dashboard; ``docs/dashboard-security-review.md`` lists it."""

from __future__ import annotations

from unittest.mock import ANY

import pytest
from support.dashboard import client_of, make_app

from flask_msm_dashboard import Access


# -- the answer of the access callable -------------------------------------------------------------


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
def test_what_only_looks_equal_to_an_answer_opens_nothing(answer):
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
