"""Attacks on the dashboard: changes that no operator asked for, odd forms and headers."""

from __future__ import annotations

import pytest
from support.dashboard import ORIGIN, client_of, fields_in, post, review, token_of


# -- changes that no operator asked for ------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": None, "Sec-Fetch-Site": None, "Referer": "http://localhost/msm-admin/"},
        {"Origin": "", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
        {"Origin": None, "Sec-Fetch-Site": "same-origin, cross-site"},
        {"Origin": "http://localhost, https://evil.example", "Sec-Fetch-Site": None},
        {"Origin": "http://localhost@evil.example", "Sec-Fetch-Site": None},
        {"Origin": "https://ops.example.evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"},
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


# -- odd forms, addresses and headers --------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["[" * 3000, "[" * 20_000, "1" * 5000, "NaN", "{}", "null", '"a', "\0", "\ufffd"]
)
def test_an_odd_name_of_an_attribute_is_refused_in_words(text):
    client, console = client_of()
    data = {"token": token_of(client, "pin"), "reason": "x", "attribute": text}

    by_form = post(client, "/msm-admin/act/pin", data)
    by_link = client.get("/msm-admin/act/pin", query_string={"attribute": text})

    assert by_form.status_code == by_link.status_code == 400
    assert "That is no name of an attribute." in by_form.text
    assert console.calls == []


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe=\xff&token=\xff",
        b"token=" + b"%" * 1000,
        b"a=1&" * 3000,
        b"\0" * 1000,
        b"token=1&token=2&token[]=3",
        b"x" * 255_000,
    ],
)
def test_an_odd_form_is_refused(body):
    client, console = client_of()

    response = client.post(
        "/msm-admin/act/stop",
        data=body,
        content_type="application/x-www-form-urlencoded",
        headers={"Origin": ORIGIN},
    )

    assert response.status_code == 403
    assert console.calls == []


def test_a_form_of_many_parts_is_refused():
    client, console = client_of()
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'

    response = client.post(
        "/msm-admin/act/stop",
        data=part * 3000 + b"--x--\r\n",
        content_type="multipart/form-data; boundary=x",
        headers={"Origin": ORIGIN},
    )

    assert response.status_code == 413
    assert "This form is too large." in response.text
    assert console.calls == []


ODD_QUERIES = [
    "live=",
    "live=a:b,c",
    "live=%ff%fe",
    "live=" + "a:b," * 10_000,
    "applied=" + "x" * 10_000,
    "a=1&" * 3000,
    "mode[]=x&mode=y&mode=z&host=%00",
    "before=zzz&kind=%ed%a0%80&actor=%ff",
    "live=x&live=y",
]


@pytest.mark.parametrize("path", ["", "nodes/", "workers/", "events/", "api/v1/state"])
def test_an_odd_query_is_answered(path):
    client, _ = client_of()

    for query in ODD_QUERIES:
        assert client.get(f"/msm-admin/{path}?{query}").status_code == 200, query


SPELLINGS = [
    "//msm-admin/",
    "/msm-admin/%2e%2e/",
    "/MSM-ADMIN/",
    "/msm-admin\\",
    "/msm-admin/nodes/..%2f..",
    "/msm-admin/act/policy/../stop",
    "/msm-admin/api/v1/health/",
    "/msm-admin//",
    "/msm-admin/static/%2e%2e/access.py",
    "/msm-admin/static/..%2faccess.py",
    "/msm-admin/static/%2fetc%2fpasswd",
    "/msm-admin/static/msm.css%00",
    "//evil.example/msm-admin/",
]


def test_no_spelling_of_a_path_gets_past_the_door():
    client, console = client_of(admin_access=None)

    for path in SPELLINGS:
        response = client.get(path, follow_redirects=True)
        assert response.status_code in {403, 404}, path
    assert console.views == 0


@pytest.mark.parametrize(
    "prefix",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "x:",
        "/x;domain=y",
    ],
)
def test_a_prefix_of_a_proxy_leads_nowhere_else(prefix):
    client, _ = client_of()

    html = client.get("/msm-admin/act/drain?node=n1", headers={"X": "1"}).text
    fields = {**fields_in(html), "reason": "x"}
    response = client.post(
        "/msm-admin/act/drain",
        data=fields,
        headers={"Origin": ORIGIN},
        environ_overrides={"SCRIPT_NAME": prefix},
    )

    assert response.status_code == 303
    location = response.headers["Location"]
    assert location.startswith("/")
    assert location[1] not in "/\\\t"
    assert ";" not in location


def test_the_name_the_host_is_called_by_is_on_no_page():
    client, _ = client_of()

    for name in ("Host", "X-Forwarded-Host"):
        for path in ("", "policy/", "api/v1/", "api/v1/state"):
            response = client.get("/msm-admin/" + path, headers={name: "evil.example"})
            assert "evil.example" not in response.text


ODD_HEADERS = [
    ("Accept", "," * 5000),
    ("Accept", "text/html;q=" + "9" * 500),
    ("If-None-Match", '"' * 5000),
    ("If-Modified-Since", "Mon, 99 Foo 99999999 99:99:99 GMT"),
    ("Range", "bytes=" + "0-0," * 1000),
    ("Cookie", "msm_admin_theme=<img>"),
    ("Content-Length", "abc"),
    ("Content-Type", "multipart/form-data"),
    ("Host", ""),
    ("Host", "["),
    ("Host", "x" * 5000),
    ("Origin", "x" * 5000),
]


def test_odd_headers_are_answered():
    client, _ = client_of()

    for name, value in ODD_HEADERS:
        for path in ("", "api/v1/state", "static/msm.js", "act/stop"):
            with client.get("/msm-admin/" + path, headers={name: value}) as response:
                assert response.status_code in {200, 206, 304, 400, 416}, (name, value[:30])
                if response.mimetype == "text/html":
                    assert "<img" not in response.text
