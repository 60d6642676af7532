"""Attacks on the dashboard: changes that no operator asked for."""

from __future__ import annotations

import pytest
from itsdangerous import URLSafeTimedSerializer
from support.dashboard import ORIGIN, client_of, fields_in, post, review, token_of


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": None, "Sec-Fetch-Site": None, "Referer": "http://localhost/msm-admin/"},
        {"Origin": "", "Sec-Fetch-Site": None},
        {"Origin": "", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Origin": None, "Sec-Fetch-Site": ""},
        {"Origin": None, "Sec-Fetch-Site": "same-origin, cross-site"},
        {"Origin": None, "Sec-Fetch-Site": "Same-Origin"},
        {"Origin": "http://localhost, https://evil.example", "Sec-Fetch-Site": None},
        {"Origin": "http://localhost@evil.example", "Sec-Fetch-Site": None},
        {"Origin": "http://localhost/", "Sec-Fetch-Site": None},
        {"Origin": "https://ops.example.evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"},
        {"Origin": "https://evil.example", "X-Forwarded-Proto": "https"},
        {"Origin": "https://evil.example", "Forwarded": "host=evil.example;proto=https"},
    ],
)
def test_odd_words_about_where_a_change_comes_from_are_no(headers):
    client, console = client_of(admin_trusted_origins=("https://ops.example",))
    fields = {**review(client, "policy?value=local"), "reason": "x"}

    assert post(client, "/msm-admin/act/policy", fields, **headers).status_code == 403
    assert console.calls == []


@pytest.mark.parametrize("name", ["act/stop", "sessions/look-up", "sessions/revoke"])
def test_no_other_method_changes_anything(name):
    client, console = client_of()
    data = {"token": token_of(client, name.rpartition("/")[2]), "word": "stop", "reason": "x"}
    data |= {"based_on": console.snapshot.distribution.stamp, "session": "x", "handle": "h"}
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    headers["X-HTTP-Method-Override"] = "POST"

    for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"):
        url = f"/msm-admin/{name}?_method=POST"
        client.open(url, method=method, data=data, headers=headers)
        assert console.calls == [], method


@pytest.mark.parametrize(
    "kind",
    ["application/json", "text/plain", "multipart/form-data", "text/x; boundary=x", ""],
)
def test_a_body_that_is_no_form_is_no_form(kind):
    client, console = client_of()
    stamp = console.snapshot.distribution.stamp
    body = f"token={token_of(client, 'stop')}&word=stop&reason=x&based_on={stamp}"

    response = client.post(
        "/msm-admin/act/stop", data=body, content_type=kind, headers={"Origin": ORIGIN}
    )

    assert response.status_code == 403
    assert console.calls == []


def test_a_page_elsewhere_writes_no_events_by_get():
    client, console = client_of()

    for _ in range(20):
        client.get("/msm-admin/api/v1/state?download=1", headers={"Sec-Fetch-Site": "cross-site"})
        client.head("/msm-admin/api/v1/state?download=1")

    assert console.notes == []


def test_many_downloads_do_not_push_other_events_out():
    client, console = client_of()

    for _ in range(20):
        assert client.get("/msm-admin/api/v1/state?download=1").status_code == 200

    assert [kind for kind, _, _ in console.notes] == ["exported"]


def test_a_link_does_not_say_the_reason_or_what_was_seen():
    client, console = client_of()

    html = client.get("/msm-admin/act/policy?value=local&reason=as+agreed&based_on=0").text

    assert "as agreed" not in html
    assert fields_in(html)["based_on"] == console.snapshot.policy.stamp


def test_a_link_does_not_call_what_was_refused_accepted():
    client, console = client_of()
    denied = console.note("action_denied", "stop by a reader", actor="bob").event
    machine = next(event.id for event in console.snapshot.events if not event.actor)

    for event in (denied, machine):
        html = client.get("/msm-admin/", query_string={"applied": event}).text
        assert "Accepted." not in html


@pytest.mark.parametrize(
    "token", ["é", "\u202e", "a.b.c", "." * 5000, "x" * 100_000, "\0", '["anna.k","stop"]']
)
def test_an_odd_token_is_no_token(token):
    client, console = client_of()

    assert post(client, "/msm-admin/act/stop", {"token": token}).status_code == 403
    assert console.calls == []


@pytest.mark.parametrize(
    "content", [None, "anna.k", ["anna.k"], ["anna.k", "stop", "x"], {"0": "anna.k"}, [0, 1]]
)
def test_a_token_that_was_signed_for_another_purpose_is_none(content):
    client, _ = client_of()
    token = URLSafeTimedSerializer("a secret", salt="flask-msm-admin").dumps(content)

    assert post(client, "/msm-admin/act/stop", {"token": token}).status_code == 403


def test_a_token_of_another_part_of_the_application_is_none():
    client, _ = client_of()
    token = URLSafeTimedSerializer("a secret", salt="itsdangerous").dumps(["anna.k", "stop"])

    assert post(client, "/msm-admin/act/stop", {"token": token}).status_code == 403


def test_a_token_from_the_future_is_none(monkeypatch):
    client, _ = client_of()
    with monkeypatch.context() as later:
        later.setattr("itsdangerous.timed.time.time", lambda: 2**33)
        token = token_of(client, "stop")

    assert post(client, "/msm-admin/act/stop", {"token": token}).status_code == 403


def test_a_form_that_is_sent_twice_changes_once():
    client, console = client_of()
    fields = {**review(client, "drain?node=n1"), "reason": "x"}
    first = post(client, "/msm-admin/act/drain", fields)

    second = post(client, "/msm-admin/act/drain", fields)

    assert (first.status_code, second.status_code) == (303, 409)
    assert [call[0] for call in console.calls] == ["drain"]
