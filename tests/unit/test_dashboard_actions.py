"""Changes: where they come from, who makes them, how often, and on what grounds."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import URLSafeTimedSerializer
from support.dashboard import ORIGIN, client_of, fields_in, make_app, post, token_in
from support.fake_console import FakeConsole
from support.fleet_scenes import all_down, node_down, partial

from flask_msm.errors import CommandError
from flask_msm.operations.snapshot import SessionFacts, Silence
from flask_msm_dashboard import Access
from flask_msm_dashboard.actions import ACTIONS


REASON = {"reason": "cart_pdf broke checkout"}


def review(client, path):
    response = client.get("/msm-admin/act/" + path)
    assert response.status_code == 200, response.text
    return {name: value.replace("&#34;", '"') for name, value in fields_in(response.text).items()}


def change(client, path="policy?value=local", data=None, **headers):
    fields = {**review(client, path), **REASON, **(data or {})}
    return post(client, "/msm-admin/act/" + path.split("?")[0], fields, **headers)


def test_a_policy_is_changed_with_who_why_and_what_was_seen():
    client, console = client_of()

    response = change(client)

    assert response.status_code == 303
    assert console.calls == [("set_policy", "local", "anna.k", "cart_pdf broke checkout", "112")]
    assert response.headers["Location"].startswith("/msm-admin/policy/?applied=")


def test_an_unknown_event_in_the_address_of_a_result_shows_nothing():
    client, _ = client_of()

    assert "Accepted" not in client.get("/msm-admin/?applied=<b>").text


@pytest.mark.parametrize("name", ACTIONS)
def test_nothing_is_done_by_get(name):
    client, console = client_of(FakeConsole(partial()))
    snapshot = console.snapshot
    seen = {"policy": snapshot.policy, "on_reconnect": snapshot.on_reconnect}
    seen |= dict.fromkeys(("stop", "resume"), snapshot.distribution)
    seen |= dict.fromkeys(("drain", "undrain"), snapshot.nodes[0])
    # Everything a change needs, but the method.
    fields = {
        "token": signed("anna.k", name),
        "based_on": seen[name].stamp if name in seen else "",
        "node": snapshot.nodes[0].id,
        "value": "promote" if name == "on_reconnect" else "stop",
        "worker": "web-2:11211",
        "hours": "8",
        "attribute": '"upload"',
        "word": "stop",
        **REASON,
    }
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}

    for method in ("GET", "HEAD"):
        path = f"/msm-admin/act/{name}"
        client.open(path, method=method, query_string=fields, data=fields, headers=headers)
    assert console.calls == []

    # Nothing but the method was missing.
    assert client.post(f"/msm-admin/act/{name}", data=fields, headers=headers).status_code == 303


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": None, "Sec-Fetch-Site": None},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "none", "Origin": None},
        {"Origin": "https://evil.example"},
        {"Origin": "https://localhost"},
    ],
)
def test_a_change_that_another_site_could_send_is_refused(headers):
    client, console = client_of()

    response = change(client, **headers)

    assert response.status_code == 403
    assert "MSM_ADMIN_TRUSTED_ORIGINS" in response.text
    assert console.calls == []
    assert console.notes[0][0] == "action_denied"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": None},
        {"Sec-Fetch-Site": None},
        {"Origin": "https://ops.example", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_one_right_header_or_a_trusted_origin_is_enough(headers):
    client, _ = client_of(admin_trusted_origins=("https://ops.example",))

    assert change(client, **headers).status_code == 303


def signed(operator, action, key="a secret", salt="flask-msm-admin"):
    return URLSafeTimedSerializer(key, salt=salt).dumps([operator, action])


TOKENS = {
    "none": None,
    "empty": "",
    "odd": "\u202e.b.c",
    "long": "x" * 100_000,
    "its content": '["anna.k","policy"]',
    "of another operator": signed("bob", "policy"),
    "of another action": signed("anna.k", "stop"),
    "of another secret": signed("anna.k", "policy", "another secret"),
    "of another part": signed("anna.k", "policy", salt="itsdangerous"),
    "of other content": URLSafeTimedSerializer("a secret", salt="flask-msm-admin").dumps("anna.k"),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_a_token_that_was_not_made_for_this_form_is_refused(token):
    client, console = client_of()

    assert change(client, data={"token": token}).status_code == 403
    assert console.calls == []


def test_a_token_of_before_the_secret_was_changed_is_taken():
    app, _ = make_app()
    client = app.test_client()
    fields = {**review(client, "policy?value=local"), **REASON}
    app.config["SECRET_KEY_FALLBACKS"] = [app.secret_key]
    app.secret_key = "a new secret"

    assert post(client, "/msm-admin/act/policy", fields).status_code == 303


def test_a_token_signed_with_a_letter_of_fallbacks_in_one_text_is_refused():
    client, console = client_of()
    client.application.config["SECRET_KEY_FALLBACKS"] = "letters"
    token = signed("anna.k", "policy", "l")

    assert change(client, data={"token": token}).status_code == 403
    assert console.calls == []


def test_an_old_form_is_refused(monkeypatch):
    client, _ = client_of()
    monkeypatch.setattr("flask_msm_dashboard.security.TOKEN_LIFE", -1)

    assert change(client).status_code == 403


def test_without_a_secret_key_nothing_can_be_changed():
    app, console = make_app()
    app.secret_key = None
    client = app.test_client()

    assert change(client).status_code == 403
    assert console.calls == []


@pytest.mark.parametrize("name", ACTIONS)
def test_a_reader_changes_nothing_even_with_a_token(name):
    client, console = client_of(admin_access=lambda request: Access("read", "bob"))
    token = signed("bob", name)
    data = {"token": token, "node": "n1", "value": "local", "based_on": "112", **REASON}

    assert post(client, f"/msm-admin/act/{name}", data).status_code == 403
    assert client.get(f"/msm-admin/act/{name}").status_code == 403
    assert console.calls == []
    assert console.notes[0][0] == "action_denied"


def test_a_choice_of_what_is_in_use_is_not_called_a_change():
    client, console = client_of()
    value = console.snapshot.policy.value

    page = client.get(f"/msm-admin/act/policy?value={value}").text

    assert f"Keep {value.capitalize()}?" in page
    assert "Change" not in page


@pytest.mark.parametrize("operator", ["bob", "anna.k"])
def test_a_change_in_the_meantime_is_not_undone_and_may_be_of_the_same_operator(operator):
    client, console = client_of()
    mine = {**review(client, "policy?value=local"), **REASON}
    console.set_policy("raise", actor=operator, reason="", based_on=None)

    response = post(client, "/msm-admin/act/policy", mine)

    assert response.status_code == 409
    assert "It was changed in the meantime" in response.text
    assert "Another operator, or you in another window" in response.text
    assert console.snapshot.policy.value == "raise"
    assert console.notes[-1][0] == "action_failed"


def test_a_form_that_comes_back_keeps_what_was_seen_first():
    client, console = client_of()
    fields = {**review(client, "policy?value=local"), "reason": ""}
    console.set_policy("raise", actor="bob", reason="", based_on=None)

    again = post(client, "/msm-admin/act/policy", fields)

    assert again.status_code == 400
    assert fields_in(again.text)["based_on"] == "112"


@pytest.mark.parametrize(
    ("path", "data", "fault"),
    [
        ("policy?value=local", {"reason": "  "}, "Say why"),
        ("policy?value=stop", {"word": "yes"}, "Type stop to confirm."),
        ("on_reconnect?value=discard", {}, "Type discard to confirm."),
    ],
)
def test_a_missing_field_of_a_form_is_named_in_text(path, data, fault):
    client, console = client_of()

    response = change(client, path, data)

    assert response.status_code == 400
    assert fault in response.text
    assert 'role="alert"' in response.text
    assert 'aria-invalid="true"' in response.text
    assert console.calls == []


@pytest.mark.parametrize(
    ("path", "data", "call"),
    [
        ("policy?value=stop", {"word": "stop"}, ("set_policy", "stop")),
        ("policy?value=configured", {}, ("set_policy", None)),
        ("on_reconnect?value=discard", {"word": "discard"}, ("set_on_reconnect", "discard")),
        ("stop", {"word": "stop"}, ("distribute", "stopped")),
        ("drain?node=n1", {}, ("drain", "n1")),
        ("probe?node=n1", {}, ("probe", "n1")),
        ("reset?node=n1", {}, ("reset_circuit", "n1")),
        ("clear?attribute=%22upload%22", {}, ("clear_blacklist", ["upload"])),
        ("pin?attribute=%22upload%22", {}, ("pin", "upload")),
    ],
)
def test_every_action_reaches_the_console(path, data, call):
    client, console = client_of()

    assert change(client, path, data).status_code == 303
    assert console.calls[0][:2] == call


def test_a_worker_that_is_gone_is_forgotten_from_its_page():
    client, console = client_of(FakeConsole(partial()))
    html = client.get("/msm-admin/workers/").text
    data = {"token": token_in(html), "worker": "web-2:11211"}

    assert post(client, "/msm-admin/act/forget", data).status_code == 303
    assert console.calls[0][:2] == ("forget_worker", "web-2:11211")


def test_exactly_the_listed_attributes_are_removed():
    client, console = client_of()
    html = client.get("/msm-admin/blacklist/").text
    listed = re.findall(r'action="/msm-admin/act/clear">(.*?)<button', html)[0]
    names = [json.loads(n.replace("&#34;", '"')) for n in re.findall(r'value="([^"]+)"', listed)]

    data = {"attribute": [json.dumps(name) for name in names]}
    page = client.get("/msm-admin/act/clear", query_string=data)
    data["token"] = token_in(page.text)
    post(client, "/msm-admin/act/clear", data)

    assert names == ["cart_pdf", "upload"], "a pinned one stays"
    assert console.calls[0][1] == names


def test_a_strange_name_of_an_attribute_arrives_as_it_is():
    client, console = client_of()
    name = 'a\r\n"<b>\u202e\ud800'
    data = {"token": signed("anna.k", "pin"), "attribute": json.dumps(name)}

    post(client, "/msm-admin/act/pin", {**data, **REASON})

    assert console.calls[0][1] == name


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("policy?value=none", "Choose one of: raise, local, blacklist, stop."),
        ("drain?node=n9", "There is no such node."),
        ("clear", "Choose at least one attribute."),
        ("clear?attribute=x", "That is no name of an attribute."),
        ("forget?worker=", "There is no such worker."),
    ],
)
def test_a_target_that_is_none_is_refused_in_words(path, text):
    client, _ = client_of()

    response = client.get("/msm-admin/act/" + path)

    assert response.status_code == 400
    assert text in response.text


def test_a_change_that_the_console_refuses_is_shown_and_logged():
    client, console = client_of()
    console.fails = CommandError("n1 is the last node <in use>")

    response = change(client, "probe?node=n1")

    assert response.status_code == 400
    assert "n1 is the last node &lt;in use&gt;" in response.text
    assert console.notes[-1][0] == "action_failed"


def test_a_second_change_has_to_wait():
    client, _ = client_of()
    change(client, "probe?node=n1")

    again = change(client, "probe?node=n1")
    other = change(client, "probe?node=n2")

    assert again.status_code == 429
    assert int(again.headers["Retry-After"]) in range(1, 6)
    assert other.status_code == 303, "counted for each node"


def test_changes_made_through_other_workers_count_as_well():
    client, console = client_of()
    console.set_policy("raise", actor="bob", reason="", based_on=None)

    response = change(client)

    assert response.status_code == 429


def test_refused_attempts_do_not_flood_the_events():
    client, console = client_of()

    for _ in range(5):
        change(client, Origin="https://evil.example")

    assert len(console.notes) == 1


def test_the_reach_of_a_change_is_shown_before_the_click():
    client, _ = client_of(FakeConsole(all_down()))
    few = client.get("/msm-admin/act/policy?value=local").text
    client, _ = client_of()
    all_of_them = client.get("/msm-admin/act/policy?value=local").text

    assert "No node answers: only workers of host web-1 hear of it now" in few
    assert "8 workers of shop in production take it over within seconds." in all_of_them


def test_choosing_stop_is_not_stopping():
    client, _ = client_of()

    chosen = client.get("/msm-admin/act/policy?value=stop").text
    stop = client.get("/msm-admin/act/stop").text

    assert "Nothing stops now." in chosen
    assert "At once, all workers stop reading and writing sessions in memcached" in stop


def test_draining_a_node_that_holds_most_needs_its_id():
    snapshot = node_down()
    first, *rest = snapshot.nodes
    first = replace(first, stats=replace(first.stats, items=10**7))
    snapshot = replace(snapshot, nodes=(first, *rest))
    client, console = client_of(FakeConsole(snapshot))

    assert "Type n1 to confirm." in change(client, "drain?node=n1").text
    assert change(client, "drain?node=n1", {"word": "n1"}).status_code == 303
    assert console.calls[0][0] == "drain"


def test_a_huge_form_is_refused():
    client, console = client_of()

    response = post(client, "/msm-admin/act/policy", {"reason": "x" * 300_000})

    assert response.status_code == 413
    assert console.calls == []


# -- sessions --------------------------------------------------------------------------------------


def look_up(client, **data):
    token = token_in(client.get("/msm-admin/sessions/").text)
    return post(client, "/msm-admin/sessions/look-up", {"token": token, **data})


def test_a_session_is_looked_up_without_a_trace_in_the_address():
    client, console = client_of()
    console.found = SessionFacts(ref="0123456789", handle="h", holders=("n1",))

    response = look_up(client, session=" 0123456789 ")

    assert response.status_code == 200
    assert console.calls[0][:3] == ("lookup", "0123456789", "anna.k")
    assert client.get("/msm-admin/sessions/look-up").status_code == 405


def test_of_several_cookies_of_mine_the_first_whose_session_exists_is_shown():
    client, console = client_of()
    found = {"living": SessionFacts(ref="0123456789", handle="h")}
    lookup = console.lookup

    def look(cookie, **options):
        lookup(cookie, **options)
        if cookie == "foreign":
            raise CommandError("no cookie of ours")
        return found.get(cookie)

    console.lookup = look
    token = token_in(client.get("/msm-admin/sessions/").text)
    cookies = "session=ended; session=foreign; session=living; session=other"
    data = {"token": token, "own": "1"}
    browser = client.application.test_client(use_cookies=False)
    response = post(browser, "/msm-admin/sessions/look-up", data, Cookie=cookies)

    assert [call[1] for call in console.calls] == ["ended", "foreign", "living"]
    assert "0123456789" in response.text


def test_my_own_session_is_found_by_the_name_that_the_application_gives_its_cookie():
    client, console = client_of()

    class Named(SecureCookieSessionInterface):
        def get_cookie_name(self, app):
            return "own"

    client.application.session_interface = Named()
    client.set_cookie("own", "the.cookie.value")
    look_up(client, own="1")

    assert console.calls[0][1] == "the.cookie.value"


def test_a_reader_may_look_up_but_sees_no_attributes_and_revokes_nothing():
    client, console = client_of(admin_access=lambda request: Access("read", "bob"))
    console.found = SessionFacts(ref="0123456789", handle="h", attributes=(("cart", "dict"),))

    html = look_up(client, session="0123456789").text
    token = signed("bob", "revoke")
    data = {"token": token, "handle": "h", "word": "revoke", **REASON}

    assert "cart" not in html
    assert "Revoke" not in html
    assert post(client, "/msm-admin/sessions/revoke", data).status_code == 403
    assert [call[0] for call in console.calls] == ["lookup"]


def test_a_session_is_revoked_with_a_reason_and_a_word():
    client, console = client_of()
    console.found = SessionFacts(ref="0123456789", handle="opaque")
    html = look_up(client, session="0123456789").text
    (handle,) = re.findall(r'name="handle" value="([^"]+)"', html)
    data = {"token": re.findall(r'name="token" value="([^"]+)"', html)[0], "handle": handle}

    refused = post(client, "/msm-admin/sessions/revoke", data)
    done = post(client, "/msm-admin/sessions/revoke", {**data, **REASON, "word": "revoke"})

    assert refused.status_code == 400
    assert done.status_code == 303
    assert console.calls[-1][:2] == ("revoke", "opaque")


def test_that_a_session_was_revoked_is_shown_also_when_the_page_is_faster_than_its_event():
    """On a machine that is busy a page may show the fleet of a moment ago."""
    client, console = client_of()
    client.get("/msm-admin/sessions/")
    before = console.snapshot
    event = console.revoke("opaque", actor="anna.k", reason="stolen", based_on=None).event
    after, console.snapshot = console.snapshot, before
    address = f"/msm-admin/sessions/?applied={event}"

    html = client.get(address).text
    console.snapshot = after
    news = client.get(f"{address}&live=").json

    assert "Accepted" not in html
    assert re.search(r'data-poll="[1-9]', html)
    assert "a session was revoked" in news["sections"]["banner"]["html"]
    assert 'data-poll="0"' in client.get("/msm-admin/sessions/").text


def test_a_cookie_that_was_looked_up_is_not_shown_again():
    client, console = client_of()
    console.found = SessionFacts(ref="0123456789", handle="h")

    assert "secret.cookie" not in look_up(client, session="secret.cookie").text


def test_looking_up_needs_a_token_and_the_same_origin():
    client, console = client_of()

    no_token = post(client, "/msm-admin/sessions/look-up", {"session": "x"})
    elsewhere = client.post("/msm-admin/sessions/look-up", data={"session": "x"})

    assert no_token.status_code == elsewhere.status_code == 403
    assert console.calls == []
    assert ORIGIN == "http://localhost"


def test_a_known_outage_is_silenced_with_a_review_and_the_page_shows_the_note():
    client, console = client_of(FakeConsole(partial()))

    response = change(client, "silence?hours=8&node=n1")

    assert response.status_code == 303
    assert console.calls == [("silence", "n1", "anna.k", "cart_pdf broke checkout", None)]
    assert "silenced for 28800 s" in client.get("/msm-admin/events/").text
    silence = Silence(node="n1", until=console.snapshot.at + 60, note="new disk", set_by="anna")
    console.snapshot = replace(console.snapshot, silences=(silence,))
    html = client.get("/msm-admin/").text
    assert "by anna: new disk" in html
    assert "act/unsilence?node=n1" in html
