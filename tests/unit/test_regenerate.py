"""A session gets another id: its browser gets the new one, the old one ends."""

from __future__ import annotations

import pytest
from flask import session
from support.apps import deletes_cookie, make_app, receiving, set_cookie

from flask_msm import destroy, regenerate, session_created
from flask_msm.record.keys import ref_of
from flask_msm.record.record import Kind
from flask_msm.storage.store import Loaded, Outcome


GRACE = 10


def write(**values):
    return lambda: session.update(values)


def sign_in():
    session["user"] = 7
    regenerate()


def contents():
    return dict(session)


def clear():
    session.clear()


@pytest.fixture
def shop():
    made = make_app(MSM_REGENERATE_GRACE=GRACE)
    made.do(write(name="anna"))
    made.operations()
    return made


def kinds(shop, cookie):
    return [record.kind for record in shop.records(cookie).values()]


def test_the_data_goes_on_under_a_new_id(shop):
    old = shop.cookie()

    response = shop.do(sign_in)

    assert set_cookie(response)
    assert shop.token().sid != shop.token(old).sid
    assert shop.ask(contents) == {"name": "anna", "user": 7}
    assert kinds(shop, old) == [Kind.ALIAS] * 2
    assert kinds(shop, shop.cookie()) == [Kind.DATA] * 2


def test_the_new_record_is_written_before_the_old_one_is_turned_into_an_alias(shop):
    shop.do(sign_in)

    assert shop.operations() == ["add", "add", "cas", "cas", "gets", "gets"]


def test_the_session_has_its_new_name_right_after_the_call(shop):
    old = shop.token().sid

    def view():
        regenerate()
        return session.sid, session.ref, session.new

    sid, ref, new = shop.ask(view)

    assert sid == shop.token().sid != old
    assert ref == ref_of(shop.key())
    assert not new


def test_a_session_begun_after_a_logout_has_the_id_that_was_read_after_it(shop):
    def view():
        regenerate()
        destroy()
        before = session.sid
        sign_in()
        return before, session.sid

    before, sid = shop.ask(view)

    assert before != sid == shop.token().sid
    assert shop.ask(contents) == {"user": 7}
    assert shop.live_keys() == {shop.key()}


def test_regenerating_twice_in_one_request_moves_once(shop):
    shop.do(lambda: (sign_in(), regenerate()))

    assert shop.operations() == ["add", "add", "cas", "cas", "gets", "gets"]


def test_regenerating_again_and_again_keeps_one_session_alive(shop):
    for _ in range(6):
        shop.do(regenerate)
        assert shop.ask(contents) == {"name": "anna"}
    assert len(shop.live_keys()) == 1


# -- a request with the old cookie ---------------------------------------------------------------


def test_the_old_cookie_shows_the_frozen_attributes_and_gets_no_cookie(shop):
    old = shop.browser(shop.cookie())
    shop.do(sign_in)
    shop.clock.advance(GRACE - 1)

    response = shop.do(lambda: str(dict(session)), client=old)

    assert response.text == str({"name": "anna"})
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize(
    "action",
    [
        write(stolen=1),
        lambda: setattr(session, "permanent", True),
        lambda: session.pop("name"),
        lambda: setattr(session, "modified", True),
        regenerate,
    ],
    ids=["write", "permanent", "pop", "modified", "regenerate"],
)
def test_with_the_old_cookie_nothing_is_written_and_no_cookie_comes(shop, action):
    old = shop.browser(shop.cookie())
    shop.do(sign_in)
    shop.do(contents, client=old)
    shop.operations()

    response = shop.do(lambda: (session.get("name"), action()), client=old)

    assert "Set-Cookie" not in response.headers
    assert shop.operations() == ["gets"]
    assert shop.ask(contents) == {"name": "anna", "user": 7}


@pytest.mark.parametrize(
    "action",
    [write(stolen=4111), lambda: session.pop("name"), lambda: session.update(name=4111)],
    ids=["write", "emptied", "changed"],
)
def test_a_change_with_the_old_cookie_is_answered_by_a_warning_with_the_ref(shop, action, caplog):
    old, key = shop.browser(shop.cookie()), shop.key()
    shop.do(sign_in)
    caplog.clear()

    shop.do(action, client=old)
    shop.do(contents, client=old)

    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert ref_of(key) in warning.getMessage()
    assert "4111" not in caplog.text
    assert shop.token(shop.cookie(old)).sid not in caplog.text
    assert shop.state.repository.counters.dropped_frozen == 1


def test_after_the_grace_the_old_cookie_shows_nothing(shop):
    old = shop.browser(shop.cookie())
    shop.do(sign_in)
    shop.clock.advance(GRACE)

    assert shop.ask(contents, client=old) == {}
    assert shop.ask(contents) == {"name": "anna", "user": 7}


@pytest.mark.parametrize("end", [destroy, clear])
def test_ending_the_session_through_the_old_cookie_ends_the_new_one(shop, end):
    old = shop.browser(shop.cookie())
    shop.do(sign_in)
    new = shop.cookie()

    response = shop.do(end, client=old)

    assert deletes_cookie(response)
    assert kinds(shop, new) == [Kind.DESTROYED] * 2
    assert shop.ask(contents) == {}


def test_ending_the_session_through_the_oldest_cookie_ends_all_that_followed(shop):
    old = shop.browser(shop.cookie())
    for _ in range(3):
        shop.do(regenerate)

    shop.do(destroy, client=old)

    assert shop.live_keys() == set()


# -- requests that were under way ----------------------------------------------------------------


def test_a_request_that_began_before_has_its_save_follow(shop):
    slow = shop.under_way()
    slow.session["slow"] = 1
    shop.do(sign_in)

    response = slow.end()

    assert "Set-Cookie" not in response.headers
    assert shop.ask(contents) == {"name": "anna", "user": 7, "slow": 1}
    assert len(shop.live_keys()) == 1


def test_a_request_that_began_before_follows_over_several_moves(shop):
    slow = shop.under_way()
    slow.session["slow"] = 1
    for _ in range(3):
        shop.do(regenerate)

    slow.end()

    assert shop.ask(contents) == {"name": "anna", "slow": 1}


def hide(shop, key):
    """Have no node answer for the session *key*."""
    repository = shop.state.repository
    load = repository.load
    unknown = Loaded(Outcome.UNKNOWN, None, {})
    repository.load = lambda at, *rest, **options: (
        unknown if at == key else load(at, *rest, **options)
    )


def test_a_change_follows_also_when_the_present_session_cannot_be_read(shop):
    slow = shop.under_way()
    slow.session["slow"] = 1
    shop.do(sign_in)
    load = shop.state.repository.load
    hide(shop, shop.key())

    slow.end()

    shop.state.repository.load = load
    assert shop.ask(contents) == {"name": "anna", "user": 7, "slow": 1}


def test_a_change_that_follows_blindly_does_not_undo_a_logout(shop):
    slow = shop.under_way()
    slow.session["slow"] = 1
    shop.do(sign_in)
    key = shop.key()
    shop.do(destroy)
    hide(shop, key)

    slow.end()

    assert shop.live_keys() == set()


def test_a_request_that_began_before_does_not_undo_a_logout_after_the_move(shop):
    slow = shop.under_way()
    slow.session["slow"] = 1
    shop.do(sign_in)
    shop.do(destroy)

    response = slow.end()

    assert set_cookie(response) is None
    assert shop.live_keys() == set()
    assert shop.state.repository.counters.dropped_after_logout == 1


def test_a_logout_that_began_before_the_move_ends_the_new_session(shop):
    slow = shop.under_way()
    slow.session.destroy()
    shop.do(sign_in)

    slow.end()

    assert shop.live_keys() == set()


def test_regenerating_a_session_that_was_ended_meanwhile_does_not_bring_it_back(shop):
    slow = shop.under_way()
    slow.session["user"] = 8
    slow.session.regenerate()
    shop.do(destroy)

    response = slow.end()

    assert deletes_cookie(response)
    assert shop.live_keys() == set()


def test_a_parallel_write_between_load_and_move_is_taken_along(shop):
    slow = shop.under_way()
    slow.session["user"] = 7
    slow.session.regenerate()
    shop.do(write(parallel=1))

    cookie = set_cookie(slow.end())

    expected = {"name": "anna", "user": 7, "parallel": 1}
    assert shop.ask(contents, client=shop.browser(cookie)) == expected


def test_the_new_cookie_asks_for_what_was_taken_along(shop):
    slow = shop.under_way()
    slow.session.regenerate()
    shop.do(write(parallel=1))

    cookie = set_cookie(slow.end())

    assert {record.version for record in shop.records(cookie).values()} == {
        shop.token(cookie).version
    }


def test_a_move_that_has_begun_has_time_to_end_even_if_the_request_has_none(shop):
    slow = shop.under_way()
    slow.session["user"] = 7
    slow.session.regenerate()
    shop.do(write(parallel=1))
    store, left = shop.state.repository.store, []

    class Slow:
        def save(self, *arguments, deadline, **options):
            left.append(deadline - shop.clock.monotonic())
            saved = store.save(*arguments, deadline=deadline, **options)
            shop.clock.advance(2)
            return saved

    shop.state.repository.store = Slow()
    slow.end()

    assert len(left) == 3  # the new record, the alias, what was taken along
    assert min(left) > 0


def test_nodes_that_failed_under_the_new_id_are_left_alone_for_the_rest_of_the_move(shop):
    slow = shop.under_way()
    slow.session["user"] = 7
    slow.session.regenerate()
    shop.do(write(parallel=1))
    store, avoided = shop.state.repository.store, []

    class Hanging:
        def save(self, *arguments, known, **options):
            avoided.append(set(known.failed))
            saved = store.save(*arguments, known=known, **options)
            return saved._replace(failed=frozenset({"n1"}))

    shop.state.repository.store = Hanging()
    slow.end()

    assert avoided == [set(), {"n1"}, {"n1"}]


def test_a_move_that_no_node_takes_leaves_the_session_as_it_is(shop):
    old = shop.cookie()
    slow = shop.under_way()
    slow.session["user"] = 7
    slow.session.regenerate()
    shop.outage()

    response = slow.end()
    shop.heal()

    assert response.status_code == 200
    assert shop.ask(contents, client=shop.browser(old)) == {"name": "anna"}


def test_a_tombstone_that_meets_an_alias_on_the_backup_still_ends_what_it_points_to(shop):
    old = shop.cookie()
    slow = shop.under_way(old)
    slow.session.destroy()
    primary, backup = (shop.nodes[node_id] for node_id in shop.homes())
    before = dict(primary.items)
    shop.do(regenerate)
    key = shop.key(old)
    # The primary forgot the move and holds what the slow request has read.
    primary.items[key] = before[key]

    slow.end()

    assert key in backup.items
    assert shop.live_keys() == set()


# -- a sign-in that is sent twice ------------------------------------------------------------------


def second_click(shop, action=sign_in):
    """Sign in, and do *action* with the cookie from before; return the second browser."""
    second = shop.browser(shop.cookie())
    shop.do(sign_in)
    shop.do(action, client=second)
    return second


def test_a_sign_in_with_the_old_cookie_gets_a_session_of_its_own_with_what_it_set(shop):
    old = shop.token().sid
    second = second_click(shop)

    assert shop.ask(contents, client=second) == {"user": 7}
    assert shop.ask(contents) == {"name": "anna", "user": 7}
    assert len({old, shop.token().sid, shop.token(shop.cookie(second)).sid}) == 3


@pytest.mark.parametrize(
    ("action", "holds"),
    [
        (lambda: (session["cart"].append(2), sign_in()), {"user": 7}),
        (lambda: (session.setdefault("cart", [3]), sign_in()), {"user": 7}),
        (lambda: (regenerate(), session.update(user=7), session["cart"].append(2)), {"user": 7}),
        (lambda: (session.update(tmp=1), sign_in(), session.pop("tmp")), {"user": 7}),
        (lambda: (session.clear(), sign_in()), {"user": 7}),
        (lambda: (session.setdefault("more", 1), regenerate()), {"more": 1}),
        (
            lambda: (sign_in(), session.save(), session["user"], session.update(b=1)),
            {"user": 7, "b": 1},
        ),
        (lambda: (regenerate(), session.save(), session.update(user=7)), {"user": 7}),
        (lambda: (setattr(session, "permanent", True), sign_in()), {"user": 7, "_permanent": True}),
    ],
    ids=[
        "changed inside",
        "setdefault",
        "changed inside after the call",
        "set and removed",
        "cleared",
        "set by setdefault",
        "saved in the middle",
        "saved before",
        "permanent",
    ],
)
def test_a_session_of_its_own_never_holds_what_the_request_did_not_set(action, holds):
    shop = make_app(MSM_REGENERATE_GRACE=GRACE)
    shop.do(write(name="anna", cart=[1]))

    second = second_click(shop, action)

    assert shop.ask(contents, client=second) == holds
    assert shop.ask(contents) == {"name": "anna", "cart": [1], "user": 7}


def test_the_permanence_goes_along_when_the_session_was_permanent_before():
    shop = make_app(MSM_REGENERATE_GRACE=GRACE)
    shop.do(lambda: (write(name="anna")(), setattr(session, "permanent", True)))

    second = second_click(shop, lambda: (setattr(session, "permanent", True), sign_in()))

    assert shop.ask(contents, client=second) == {"user": 7, "_permanent": True}


def test_a_request_that_sets_nothing_but_the_permanence_gets_no_session(shop):
    second = shop.browser(shop.cookie())
    shop.do(sign_in)

    response = shop.do(lambda: (setattr(session, "permanent", True), regenerate()), client=second)

    assert "Set-Cookie" not in response.headers
    assert shop.live_keys() == {shop.key()}


def test_without_a_grace_the_second_sign_in_starts_anew():
    shop = make_app(MSM_REGENERATE_GRACE=0)
    shop.do(write(name="anna"))

    second = second_click(shop)

    assert shop.ask(contents, client=second) == {"user": 7}
    assert shop.ask(contents) == {"name": "anna", "user": 7}


@pytest.mark.parametrize("end", [destroy, clear])
def test_neither_of_both_sessions_changes_or_ends_the_other(shop, end):
    second = second_click(shop)
    shop.do(write(first=1))
    shop.do(write(second=2), client=second)

    shop.do(end)
    assert shop.ask(contents, client=second) == {"user": 7, "second": 2}

    third = second_click(shop)
    assert shop.ask(contents, client=third) == {"user": 7}
    shop.do(end, client=third)
    assert shop.ask(contents) == {"user": 7}


def test_of_two_parallel_moves_each_has_what_it_read_and_what_it_set(shop):
    slow = shop.under_way()
    slow.session["slow"] = 1
    slow.session.regenerate()
    ref = slow.session.ref
    shop.do(sign_in)
    with receiving(session_created) as created:
        cookie = set_cookie(slow.end())

    slower = shop.browser(cookie)
    assert shop.ask(contents, client=slower) == {"name": "anna", "slow": 1}
    assert shop.ask(contents) == {"name": "anna", "user": 7}
    assert shop.live_keys() == {shop.key(), shop.key(cookie)}
    assert [values["ref"] for _, values in created] == [ref] == [ref_of(shop.key(cookie))]


def test_two_moves_at_the_very_same_moment_leave_each_a_session_of_its_own(shop):
    slow = shop.under_way()
    slow.session["slow"] = 1
    slow.session.regenerate()
    primary = shop.nodes[shop.homes()[0]]
    answers = []

    def other_request():
        other = shop.under_way()
        other.session["user"] = 7
        other.session.regenerate()
        answers.append(other.end())

    primary.before["cas"] = other_request

    answers.append(slow.end())

    other, own = (shop.browser(set_cookie(answer)) for answer in answers)
    assert shop.ask(contents, client=other) == {"name": "anna", "user": 7}
    assert shop.ask(contents, client=own) == {"name": "anna", "slow": 1}


def test_a_request_that_read_before_the_move_and_saved_after_it_keeps_what_it_read(shop):
    slow = shop.under_way()
    slow.session["slow"] = 1
    shop.do(sign_in)
    slow.session.save()
    slow.session["user"] = 8
    slow.session.regenerate()

    cookie = set_cookie(slow.end())

    expected = {"name": "anna", "slow": 1, "user": 8}
    assert shop.ask(contents, client=shop.browser(cookie)) == expected
    assert shop.ask(contents) == {"name": "anna", "user": 7, "slow": 1}


def test_a_slow_move_does_not_bring_back_a_session_that_ended_under_its_new_id(shop):
    slow = shop.under_way()
    slow.session["user"] = 8
    slow.session.regenerate()
    shop.do(sign_in)
    shop.do(regenerate)
    shop.do(destroy)

    response = slow.end()

    assert deletes_cookie(response)
    assert shop.live_keys() == set()


def test_a_change_meant_for_a_new_id_is_not_handed_over_when_that_cannot_be_stored(shop, caplog):
    slow = shop.under_way()
    slow.session["slow"] = 1
    slow.session.regenerate()
    shop.do(sign_in)
    repository = shop.state.repository
    repository.create = lambda *_, **__: None

    response = slow.end()

    assert set_cookie(response) is None
    assert "has moved to another id" in caplog.text
    assert shop.ask(contents) == {"name": "anna", "user": 7}


def test_local_values_of_a_second_sign_in_are_kept_under_its_own_id():
    shop = make_app(MSM_REGENERATE_GRACE=GRACE, MSM_ATTRIBUTE_FILTER="^(name|user)$")
    shop.do(write(name="anna", tmp=["old"]))
    objects = [object(), object()]
    second = shop.browser(shop.cookie())
    shop.do(lambda: (write(tmp=objects[0])(), sign_in()))

    shop.do(lambda: (write(tmp=objects[1])(), sign_in()), client=second)

    assert shop.ask(contents) == {"name": "anna", "user": 7, "tmp": objects[0]}
    assert shop.ask(contents, client=second) == {"user": 7, "tmp": objects[1]}


# -- attacks on it ---------------------------------------------------------------------------------


def rotate():
    """Do what a view does that gives the session another id from time to time."""
    if session.get("rotated", 0) < 1:
        session["rotated"] = 1
        regenerate()


def test_a_thief_who_polls_a_rotating_view_with_the_old_cookie_learns_and_changes_nothing():
    shop = make_app(MSM_REGENERATE_GRACE=GRACE)
    shop.do(write(name="anna", card=4111))
    stolen = shop.cookie()
    shop.do(rotate)
    shop.do(write(secret=1))
    cookies = set()

    for _ in range(100):
        thief = shop.browser(stolen)
        shop.do(rotate, client=thief)
        cookies.add(shop.cookie(thief))
        assert shop.ask(contents, client=thief) == {"rotated": 1}

    assert len(cookies) == 100
    assert shop.token().sid not in {shop.token(cookie).sid for cookie in cookies}
    assert shop.ask(contents) == {"name": "anna", "card": 4111, "rotated": 1, "secret": 1}


def test_who_plants_a_cookie_gets_nothing_of_the_victim_who_signs_in_with_it_twice():
    shop = make_app(MSM_REGENERATE_GRACE=GRACE)
    shop.do(write(planted=1))
    planted = shop.cookie()
    slow = shop.under_way(planted)
    slow.session["mine"] = 1
    slow.session.regenerate()
    victim, again = shop.browser(planted), shop.browser(planted)

    shop.do(sign_in, client=victim)
    shop.do(sign_in, client=again)
    mine = shop.browser(set_cookie(slow.end()))

    assert shop.ask(contents, client=shop.browser(planted)) == {"planted": 1}
    assert shop.ask(contents, client=mine) == {"planted": 1, "mine": 1}
    assert shop.ask(contents, client=victim) == {"planted": 1, "user": 7}
    assert shop.ask(contents, client=again) == {"user": 7}


def test_a_move_that_failed_is_not_made_up_for_when_the_response_has_begun(shop, monkeypatch):
    """The browser would get no cookie for the new id."""
    slow, cookie = shop.under_way(), shop.cookie()
    slow.session["user"] = 7
    slow.session.regenerate()
    with monkeypatch.context() as full:
        full.setattr(shop.state.repository, "create", lambda *_: None)  # no store has room
        slow.end()

    slow.session["seen"] = 1
    slow.session.save()

    assert kinds(shop, cookie) == [Kind.DATA] * 2
    assert shop.ask(contents) == {"name": "anna", "user": 7, "seen": 1}


def test_an_error_handler_may_still_ask_for_a_new_id():
    def failed(_):
        regenerate()
        return "failed", 500

    shop = make_app(setup=lambda app: app.register_error_handler(500, failed), testing=False)
    shop.do(write(name="anna"))

    assert shop.do(write(lock=object())).text == "failed"
