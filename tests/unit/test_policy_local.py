"""Policy ``local``: what cannot be stored stays in the process, the rest is stored as ever."""

from __future__ import annotations

import gc
import weakref

import pytest
from flask import session
from support.apps import LIFE, make_app, set_cookie
from support.policies import LOCK, contents, make_workers, visit, warnings, write

from flask_msm import SerializationError, destroy, read_only, regenerate
from flask_msm.sessions.live_objects import MAX_IDLE


LOCAL = {"MSM_SERIALIZATION_POLICY": "local"}


def start(**config):
    shop = make_app(**LOCAL, **config)
    shop.do(write(name="anna"))
    shop.operations()
    return shop


def live(shop):
    return shop.state.repository.serialization.live


# -- this process ----------------------------------------------------------------------------------


def test_the_next_request_finds_the_same_object():
    shop = start()
    shop.do(write(cart=[LOCK]))

    assert shop.ask(lambda: session["cart"][0]) is LOCK
    assert shop.ask(lambda: session.is_local)
    assert shop.token().local


def test_a_local_change_alone_costs_no_write_and_raises_no_version():
    shop = start()
    version = shop.token().version

    response = shop.do(write(lock=LOCK))

    assert set_cookie(response)
    assert shop.token().version == version
    assert shop.operations() == ["gets"]
    assert shop.ask(contents) == {"name": "anna", "lock": LOCK}
    assert shop.token().version == version


def test_a_first_save_that_fails_stores_an_empty_session():
    one, other = make_workers(**LOCAL)

    one.do(write(lock=LOCK))

    (key,) = one.all_keys()
    assert {len(record.attributes.alive()) for record in one.stored(key).values()} == {0}
    assert one.token().local
    assert one.ask(contents) == {"lock": LOCK}
    assert visit(other, contents, one.cookie())[0] == {}


def test_a_local_value_is_joined_and_the_session_is_normal_when_it_can_be_stored_again():
    one, other = make_workers(**LOCAL)
    one.do(write(cart=[LOCK]))
    version = one.token().version

    one.do(lambda: session["cart"].clear())

    assert not one.token().local
    assert one.token().version > version
    assert len(live(one)) == 0
    assert visit(other, contents, one.cookie())[0] == {"cart": []}


def test_a_local_value_is_gone_when_the_application_removes_it():
    shop = start()
    shop.do(write(lock=LOCK))

    shop.do(lambda: session.pop("lock"))

    assert shop.ask(contents) == {"name": "anna"}
    assert not shop.token().local
    assert len(live(shop)) == 0


@pytest.mark.parametrize("end", [destroy, lambda: session.clear()], ids=["destroy", "clear"])
def test_the_end_of_a_session_is_the_end_of_its_objects(end):
    shop = start()
    shop.do(write(lock=LOCK))

    shop.do(end)

    assert len(live(shop)) == 0
    assert shop.ask(contents) == {}


def test_an_object_of_a_session_that_was_ended_elsewhere_is_forgotten():
    one, other = make_workers(**LOCAL)
    one.do(write(name="anna"))
    one.do(write(lock=LOCK))
    visit(other, destroy, one.cookie())

    assert one.ask(contents) == {}
    assert len(live(one)) == 0


def test_a_local_value_moves_along_with_a_new_id():
    shop = start()
    shop.do(write(lock=LOCK))
    old = shop.key()

    shop.do(regenerate)

    assert shop.key() != old
    assert shop.ask(contents) == {"name": "anna", "lock": LOCK}
    assert shop.token().local
    assert len(live(shop)) == 1


def test_a_refresh_without_a_look_at_the_session_keeps_it():
    shop = start()
    shop.do(lambda: (write(lock=LOCK)(), setattr(session, "permanent", True)))
    shop.clock.advance(LIFE / 2)

    assert set_cookie(shop.do())

    assert shop.token().local
    assert shop.ask(lambda: session["lock"]) is LOCK


def test_a_request_that_changes_nothing_saves_nothing_and_sends_no_cookie():
    shop = start()
    shop.do(write(lock=LOCK))
    shop.operations()

    response = shop.do(lambda: session["lock"])

    assert shop.operations() == ["gets"]
    assert set_cookie(response) is None


def test_a_name_that_json_cannot_write_stays_too():
    shop = start()

    shop.do(lambda: session.update({(5,): 1}))

    assert shop.ask(contents) == {"name": "anna", (5,): 1}


def test_parallel_requests_keep_what_each_of_them_set():
    shop = start()
    one, other = shop.under_way(), shop.under_way()
    one.session["lock"] = LOCK
    other.session["job"] = LOCK
    one.end()
    cookie = set_cookie(other.end())

    assert shop.ask(contents, client=shop.browser(cookie)) == {
        "name": "anna",
        "lock": LOCK,
        "job": LOCK,
    }


def test_a_request_that_fails_for_another_reason_forgets_nothing():
    shop = start(testing=False)
    shop.app.logger.disabled = True
    shop.do(write(lock=LOCK))

    assert shop.do(lambda: session["lock"] and 1 / 0).status_code == 500

    assert shop.ask(lambda: session["lock"]) is LOCK


# -- other processes -------------------------------------------------------------------------------


def test_other_workers_serve_the_last_good_copy_and_pass_the_tag_on():
    one, other = make_workers(**LOCAL)
    one.do(write(cart=[1]))
    one.do(lambda: session["cart"].append(LOCK))

    seen, cookie = visit(other, contents, one.cookie())
    assert seen == {"cart": [1]}

    _, cookie = visit(other, write(name="anna"), cookie)
    assert visit(one, contents, cookie)[0] == {"cart": [1, LOCK], "name": "anna"}


def test_a_value_another_worker_stored_later_replaces_the_local_one():
    one, other = make_workers(**LOCAL)
    one.do(write(cart=[1]))
    one.do(lambda: session["cart"].append(LOCK))

    _, cookie = visit(other, write(cart=[2]), one.cookie())

    seen, cookie = visit(one, contents, cookie)
    assert seen == {"cart": [2]}
    assert len(live(one)) == 0


def test_a_local_value_that_another_worker_removed_later_is_gone():
    one, other = make_workers(**LOCAL)
    one.do(write(name="anna", cart=[1]))
    one.do(lambda: session["cart"].append(LOCK))

    _, cookie = visit(other, lambda: session.pop("cart"), one.cookie())

    assert visit(one, contents, cookie)[0] == {"name": "anna"}


# -- bounds ----------------------------------------------------------------------------------------


class Thing:
    pass


def test_objects_go_with_their_idle_session():
    shop = start(PERMANENT_SESSION_LIFETIME=MAX_IDLE * 10)
    shop.do(lambda: write(thing=Thing())())
    (thing,) = (kept.value for kept in live(shop).get(shop.key(), life=LIFE).values())
    seen = weakref.ref(thing)
    del thing
    shop.clock.advance(MAX_IDLE + 1)

    assert shop.ask(contents) == {"name": "anna"}
    gc.collect()
    assert seen() is None


def test_ten_thousand_bad_attributes_of_one_session_are_bounded(caplog):
    shop = start()

    shop.do(lambda: session.update({f"name {number}": LOCK for number in range(10_000)}))

    assert len(shop.ask(contents)) == 101
    logged = warnings(caplog)
    assert len(logged) == 202
    assert (
        sum("9900 attributes that only this process had are lost" in text for text in logged) == 1
    )
    assert sum("more than 200 attributes cannot be stored" in text for text in logged) == 1


# -- too large -------------------------------------------------------------------------------------


SMALL = {**LOCAL, "MSM_MAX_RECORD_SIZE": 1024, "MSM_COMPRESS_ABOVE": 0}


def test_of_a_session_that_is_too_large_the_largest_change_stays_here():
    one, other = make_workers(**SMALL)
    one.do(write(name="anna"))

    one.do(write(small=1, big="x" * 2_000))

    assert one.ask(contents) == {"name": "anna", "small": 1, "big": "x" * 2_000}
    assert visit(other, contents, one.cookie())[0] == {"name": "anna", "small": 1}


def test_a_session_that_fits_again_is_stored_again():
    one, other = make_workers(**SMALL)
    one.do(write(name="anna", big="x" * 2_000))

    one.do(write(big="x"))

    assert not one.token().local
    assert visit(other, contents, one.cookie())[0] == {"name": "anna", "big": "x"}


def test_a_session_too_large_by_what_is_stored_already_keeps_its_changes_here():
    one, other = make_workers(**SMALL)
    one.do(write(big="x" * 700))

    one.do(write(more="y" * 400))

    assert one.ask(contents) == {"big": "x" * 700, "more": "y" * 400}
    assert visit(other, contents, one.cookie())[0] == {"big": "x" * 700}


def test_a_value_that_is_still_too_large_costs_no_try_and_no_cookie(caplog):
    def setup(app):
        @app.get("/report")
        @read_only
        def report():
            return str(len(session["big"]))

    shop = make_app(setup=setup, **SMALL)
    shop.do(write(name="anna", big=["x" * 2_000]))
    caplog.clear()
    shop.operations()

    response = shop.do(lambda: session["big"])

    assert shop.operations() == ["gets"]
    assert set_cookie(response) is None
    assert shop.client.get("/report").text == "1"
    assert warnings(caplog) == []


def test_a_value_that_is_too_large_is_tried_again_when_the_rest_becomes_smaller():
    one, other = make_workers(**SMALL)
    one.do(write(name="x" * 500))
    one.do(write(big="y" * 600))
    assert visit(other, contents, one.cookie())[0] == {"name": "x" * 500}

    one.do(write(name="anna"))

    assert visit(other, contents, one.cookie())[0] == {"name": "anna", "big": "y" * 600}
    assert not one.token().local


def test_a_copy_older_than_what_the_browser_has_seen_takes_nothing_away():
    shop = start(replicas=1, nodes=1)
    shop.do(write(cart=[1]))
    (node,) = shop.nodes.values()
    old = dict(node.items)
    shop.do(write(cart=[2]))
    shop.do(lambda: session["cart"].append(LOCK))
    new = dict(node.items)

    node.items.update(old)
    assert shop.ask(lambda: session["cart"]) == [2, LOCK]

    node.items.update(new)
    assert shop.ask(lambda: session["cart"]) == [2, LOCK]


# -- the policy changes ----------------------------------------------------------------------------


def choose(shop, name):
    shop.state.repository.serialization.policy.chosen = lambda: name


def test_a_local_value_stays_when_the_policy_becomes_raise_and_new_failures_raise():
    shop = start()
    shop.do(write(lock=LOCK))

    choose(shop, "raise")

    assert shop.ask(contents) == {"name": "anna", "lock": LOCK}
    shop.do(write(name="eve"))
    assert shop.ask(contents) == {"name": "eve", "lock": LOCK}
    with pytest.raises(SerializationError, match="'job'"):
        shop.do(write(job=LOCK))


def test_a_local_value_is_stored_as_none_when_the_policy_becomes_blacklist():
    shop = start()
    shop.do(write(lock=LOCK))

    choose(shop, "blacklist")
    shop.ask(contents)

    assert shop.ask(contents) == {"name": "anna", "lock": None}
    assert not shop.token().local


# -- log lines -------------------------------------------------------------------------------------


def test_the_consequence_for_several_workers_is_logged_once(caplog):
    shop = start()

    for _ in range(3):
        shop.do(write(cart=[{"lock": LOCK, "card": "4111"}]))

    (text,) = warnings(caplog)
    for part in (
        "attribute_kept_local",
        "'cart[0].lock'",
        "_thread.lock",
        "'view'",
        "stays in this process",
        "every other worker goes on",
    ):
        assert part in text
    assert "4111" not in text
    assert shop.token().sid not in text
    (entry,) = shop.state.repository.serialization.blacklist.all()
    assert entry.count == 3


def test_without_nodes_it_is_the_same():
    shop = make_app(0, **LOCAL)
    shop.do(write(name="anna", lock=LOCK))

    assert shop.ask(contents) == {"name": "anna", "lock": LOCK}
