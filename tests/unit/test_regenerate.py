"""A session gets another id: the new one for its browser, the old one for nobody."""

from __future__ import annotations

import pytest
from flask import session
from support.apps import deletes_cookie, make_app, set_cookie

from flask_msm import destroy, regenerate
from flask_msm.record.record import Kind


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


def test_the_session_shows_its_new_name_only_when_it_was_saved(shop):
    before, after = shop.ask(lambda: (session.sid, regenerate(), session.sid))[::2]

    assert before == after != shop.token().sid


def test_nothing_but_the_id_has_to_change(shop):
    old = shop.token().sid

    shop.do(regenerate)

    assert shop.token().sid != old
    assert shop.ask(contents) == {"name": "anna"}


def test_clearing_first_leaves_nothing_of_the_old_contents(shop):
    shop.do(lambda: (session.clear(), sign_in()))

    assert shop.ask(contents) == {"user": 7}


def test_a_new_session_needs_no_alias():
    shop = make_app()

    shop.do(sign_in)

    assert shop.operations() == ["add", "add"]
    assert shop.ask(contents) == {"user": 7}


def test_regenerating_twice_in_one_request_moves_once(shop):
    shop.do(lambda: (sign_in(), regenerate()))

    assert shop.operations() == ["add", "add", "cas", "cas", "gets", "gets"]


def test_regenerate_and_save_in_the_middle_of_a_request(shop):
    def view():
        sign_in()
        session.save()
        session["later"] = 1

    shop.do(view)

    assert shop.ask(contents) == {"name": "anna", "user": 7, "later": 1}
    assert len(shop.live_keys()) == 1


def test_regenerating_again_and_again_keeps_one_session_alive(shop):
    for _ in range(6):
        shop.do(regenerate)
        assert shop.ask(contents) == {"name": "anna"}
    assert len(shop.live_keys()) == 1


# -- whoever comes with the old cookie -----------------------------------------------------------


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


def test_after_the_grace_the_old_cookie_shows_nothing(shop):
    old = shop.browser(shop.cookie())
    shop.do(sign_in)
    shop.clock.advance(GRACE)

    assert shop.ask(contents, client=old) == {}
    assert shop.ask(contents) == {"name": "anna", "user": 7}


def test_after_the_grace_a_browser_with_the_old_cookie_can_start_anew(shop):
    old = shop.browser(shop.cookie())
    shop.do(sign_in)
    shop.clock.advance(GRACE)

    response = shop.do(write(name="eve"), client=old)

    assert set_cookie(response)
    assert shop.ask(contents, client=old) == {"name": "eve"}
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


def test_a_request_that_emptied_the_session_by_pop_follows_too(shop):
    slow = shop.under_way()
    slow.session.pop("name")
    shop.do(sign_in)

    response = slow.end()

    assert "Set-Cookie" not in response.headers
    assert shop.ask(contents) == {"user": 7}


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


def test_of_two_parallel_moves_one_wins_and_the_change_of_the_other_follows(shop):
    slow = shop.under_way()
    slow.session["slow"] = 1
    slow.session.regenerate()
    shop.do(sign_in)

    response = slow.end()

    assert set_cookie(response) is None
    assert shop.ask(contents) == {"name": "anna", "user": 7, "slow": 1}
    assert shop.live_keys() == {shop.key()}


def test_two_moves_at_the_very_same_moment_leave_one_session(shop):
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

    cookies = [set_cookie(answer) for answer in answers if set_cookie(answer)]
    assert len(cookies) == 1
    assert shop.live_keys() == {shop.key(cookies[0])}
    winner = shop.browser(cookies[0])
    assert shop.ask(contents, client=winner) == {"name": "anna", "user": 7, "slow": 1}


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
            shop.clock.advance(2)
            return store.save(*arguments, deadline=deadline, **options)

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
