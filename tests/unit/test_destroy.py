"""Logout is final: nothing that was under way, and no old cookie, brings a session back."""

from __future__ import annotations

import flask_login
import pytest
from flask import session
from support.apps import LIFE, deletes_cookie, make_app, receiving, set_cookie

from flask_msm import destroy, session_created, session_destroyed
from flask_msm.record.record import Kind


def write(**values):
    return lambda: session.update(values)


def contents():
    return dict(session)


def by_method():
    session.destroy()


def clear():
    session.clear()


@pytest.fixture
def shop():
    made = make_app()
    made.do(write(name="anna", cart=[1]))
    made.operations()
    return made


def kinds(shop, cookie):
    return [record.kind for record in shop.records(cookie).values()]


ENDINGS = {
    "destroy": destroy,
    "method": by_method,
    "clear": clear,
    "clear after a change": lambda: (write(more=1)(), session.clear()),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_ending_a_session_puts_a_tombstone_on_every_copy_and_deletes_the_cookie(shop, ending):
    cookie = shop.cookie()

    response = shop.do(ending)

    assert deletes_cookie(response)
    assert shop.operations() == ["cas", "cas", "gets", "gets"]
    assert kinds(shop, cookie) == [Kind.DESTROYED] * 2
    assert shop.cookie() is None


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_the_old_cookie_shows_an_empty_session_and_starts_a_new_one(shop, ending):
    cookie = shop.cookie()
    shop.do(ending)

    replay = shop.browser(cookie)

    assert shop.ask(contents, client=replay) == {}
    shop.do(write(name="eve"), client=replay)
    assert shop.token(shop.cookie(replay)).sid != shop.token(cookie).sid
    assert kinds(shop, cookie) == [Kind.DESTROYED] * 2


def test_a_tombstone_lives_as_long_as_the_session_could_have(shop):
    cookie = shop.cookie()
    shop.do(destroy)

    for node in shop.nodes.values():
        if shop.key(cookie) in node.items:
            assert node.ttls[shop.key(cookie)] >= LIFE


def test_a_value_set_after_destroy_starts_a_session_with_another_id(shop):
    cookie = shop.cookie()

    shop.do(lambda: (destroy(), write(name="eve")()))

    assert shop.token().sid != shop.token(cookie).sid
    assert shop.ask(contents) == {"name": "eve"}
    assert kinds(shop, cookie) == [Kind.DESTROYED] * 2


def test_reload_after_destroy_does_not_take_the_contents_over(shop):
    shop.do(lambda: (destroy(), session.reload(), write(more=1)()))

    assert shop.ask(contents) == {"more": 1}


def test_destroy_and_save_in_the_middle_of_a_request(shop):
    cookie = shop.cookie()

    response = shop.do(lambda: (destroy(), session.save()))

    assert deletes_cookie(response)
    assert kinds(shop, cookie) == [Kind.DESTROYED] * 2


def test_modified_false_does_not_take_back_destroy(shop):
    cookie = shop.cookie()

    response = shop.do(lambda: (destroy(), setattr(session, "modified", False)))

    assert deletes_cookie(response)
    assert kinds(shop, cookie) == [Kind.DESTROYED] * 2


def test_clear_followed_by_a_write_keeps_the_id(shop):
    before = shop.token().sid

    shop.do(lambda: (session.clear(), write(name="eve")()))

    assert shop.token().sid == before
    assert shop.ask(contents) == {"name": "eve"}


def test_destroying_nothing_writes_nothing():
    shop = make_app()

    response = shop.do(destroy)

    assert response.status_code == 200
    assert shop.operations() == []


def test_popping_everything_deletes_the_cookie_and_writes_removals(shop):
    cookie = shop.cookie()

    response = shop.do(lambda: [session.pop(name) for name in list(session)])

    assert deletes_cookie(response)
    assert kinds(shop, cookie) == [Kind.DATA] * 2
    assert shop.ask(contents, client=shop.browser(cookie)) == {}


def test_a_parallel_write_keeps_a_session_alive_that_was_emptied_by_pop(shop):
    cookie = shop.cookie()
    slow = shop.under_way()
    slow.session["parallel"] = 1
    shop.do(lambda: [session.pop(name) for name in list(session)])

    response = slow.end()

    assert set_cookie(response)
    assert shop.ask(contents, client=shop.browser(cookie)) == {"parallel": 1}


# -- requests that were under way ----------------------------------------------------------------


@pytest.mark.parametrize("late", [0, 1, LIFE * 0.9], ids=["at once", "soon", "much later"])
def test_a_request_that_ends_after_the_logout_does_not_undo_it(shop, late):
    cookie = shop.cookie()
    slow = shop.under_way()
    slow.session["name"] = "slow"
    shop.do(destroy)
    shop.clock.advance(late)

    response = slow.end()

    assert deletes_cookie(response)
    assert kinds(shop, cookie) == [Kind.DESTROYED] * 2
    assert shop.ask(contents, client=shop.browser(cookie)) == {}
    assert shop.state.repository.counters.dropped_after_logout == 1


def test_signals_name_the_session_by_its_ref_and_never_by_its_id():
    shop = make_app()
    with receiving(session_created) as created, receiving(session_destroyed) as destroyed:
        shop.do(write(name="anna"))
        shop.do(write(name="eve"))
        ref, sid = shop.ask(lambda: (session.ref, session.sid))
        shop.do(destroy)

    assert created == [(shop.app, {"ref": ref})]
    assert destroyed == [(shop.app, {"ref": ref})]
    assert len(ref) == 10
    assert ref not in sid


# -- beside Flask-Login ----------------------------------------------------------------------------


def sign_out_first():
    flask_login.logout_user()
    destroy()


def destroy_first():
    destroy()
    flask_login.logout_user()


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("sign_out", [sign_out_first, destroy_first])
def test_who_is_remembered_by_flask_login_is_signed_out_in_either_order(sign_out, enabled):
    shop = make_app(MSM_ENABLED=enabled)
    manager = flask_login.LoginManager(shop.app)

    @manager.user_loader
    def load(name):
        user = flask_login.UserMixin()
        user.id = name
        return user

    shop.do(lambda: flask_login.login_user(load("anna"), remember=True))
    assert shop.ask(lambda: flask_login.current_user.is_authenticated)

    response = shop.do(sign_out)

    assert "remember_token=;" in " ".join(response.headers.getlist("Set-Cookie"))
    assert not shop.ask(lambda: flask_login.current_user.is_authenticated)
    assert shop.ask(contents) == {}
