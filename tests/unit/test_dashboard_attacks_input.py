"""Attacks on the dashboard: odd forms, addresses and headers."""

from __future__ import annotations

import pytest
from support.dashboard import ORIGIN, client_of, fields_in, post, review, token_of


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
    "live[]=x",
    "live=%ff%fe",
    "live=%00",
    "live=" + "a:b," * 10_000,
    "applied=%00",
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
    "/msm-admin/./",
    "/msm-admin/%2e/",
    "/msm-admin/%2e%2e/",
    "/MSM-ADMIN/",
    "/msm-admin;x/",
    "/msm-admin\\",
    "/msm-admin/nodes/%00",
    "/msm-admin/nodes/..%2f..",
    "/msm-admin/nodes/n1/",
    "/msm-admin/act/stop/",
    "/msm-admin/act/policy/../stop",
    "/msm-admin/api/v1/health/",
    "/msm-admin/api/v1//health",
    "/msm-admin//nodes/",
    "/msm-admin//",
    "/msm-admin/static/../access.py",
    "/msm-admin/static/%2e%2e/access.py",
    "/msm-admin/static/..%2faccess.py",
    "/msm-admin/static/..\\access.py",
    "/msm-admin/static/%2fetc%2fpasswd",
    "/msm-admin/static//etc/passwd",
    "/msm-admin/static/msm.css%00",
    "/msm-admin/static/",
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


@pytest.mark.parametrize("name", ["next", "url", "back", "return_to", "redirect"])
def test_no_parameter_of_a_request_changes_where_a_change_leads(name):
    client, _ = client_of()
    fields = {**review(client, "drain?node=n1"), "reason": "x", name: "https://evil.example/"}

    response = post(client, f"/msm-admin/act/drain?{name}=https://evil.example/", fields)

    assert response.status_code == 303
    assert response.headers["Location"].startswith("/msm-admin/nodes/?applied=")


def test_the_name_the_host_is_called_by_is_on_no_page():
    client, _ = client_of()

    for name in ("Host", "X-Forwarded-Host"):
        for path in ("", "policy/", "api/v1/", "api/v1/state"):
            response = client.get("/msm-admin/" + path, headers={name: "evil.example"})
            assert "evil.example" not in response.text


ODD_HEADERS = [
    ("Accept", "," * 5000),
    ("Accept", "text/html;q=" + "9" * 500),
    ("Accept", "*/*;q=abc"),
    ("If-None-Match", '"' * 5000),
    ("If-None-Match", "*"),
    ("If-Modified-Since", "Mon, 99 Foo 99999999 99:99:99 GMT"),
    ("Range", "bytes=" + "0-0," * 1000),
    ("Range", "bytes=" + "9" * 100 + "-"),
    ("Cookie", "msm_admin_theme=<img>"),
    ("Cookie", "msm_admin_theme=dark; " * 500),
    ("Content-Length", "abc"),
    ("Content-Length", "-1"),
    ("Content-Type", "multipart/form-data"),
    ("Host", ""),
    ("Host", "["),
    ("Host", "user@host"),
    ("Host", "localhost:99999999"),
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
