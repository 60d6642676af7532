"""Policy ``stop``: nothing until an attribute fails; then the fleet is asked to stop."""

from __future__ import annotations

import pytest
from support.policies import LOCK, contents, make_workers, visit, warnings, write


STOP = {"MSM_SERIALIZATION_POLICY": "stop"}


@pytest.fixture
def asked():
    return []


def stop_with(shop, stop):
    """Have *stop* called when the fleet is to stop."""
    shop.state.repository.serialization.stop_distribution = stop


def start(asked, count=1, **config):
    shops = make_workers(count, **STOP, **config)
    for shop in shops:
        stop_with(shop, asked.append)
        shop.do(write(name="anna"))
    return shops


def test_nothing_stops_as_long_as_nothing_fails(asked):
    start(asked)

    assert asked == []


def test_the_first_failure_asks_to_stop_and_says_why(asked, caplog):
    (shop,) = start(asked)

    assert shop.do(write(cart=[{"lock": LOCK, "card": "4111"}])).status_code == 200

    (why,) = asked
    for part in ("'cart[0].lock'", "_thread.lock", "'view'", "policy 'stop'"):
        assert part in why
    logged = warnings(caplog)
    assert ["distribution_stop_asked" in text for text in logged] == [True, False]
    assert not any("4111" in text or shop.token().sid in text for text in logged)


def test_the_stop_is_requested_before_the_rest_is_stored(asked):
    (shop,) = start([])
    shop.operations()
    stop_with(shop, lambda _: asked.append(shop.operations()))

    shop.do(write(lock=LOCK, name="eve"))

    assert asked == [["gets"]]


def test_the_stop_is_requested_once_and_again_after_an_operator_may_have_resumed(asked):
    (shop,) = start(asked)

    for _ in range(3):
        shop.do(write(lock=LOCK))
    assert len(asked) == 1

    shop.clock.advance(5)
    shop.do(write(lock=LOCK))
    assert len(asked) == 2


def test_a_session_that_is_too_large_is_the_same(asked):
    one, other = start(asked, 2, MSM_MAX_RECORD_SIZE=1024)

    one.do(write(big="x" * 2_000, small=1))

    assert "allowed are 1024" in asked[0]
    assert one.ask(contents) == {"name": "anna", "big": "x" * 2_000, "small": 1}
    assert visit(other, contents, one.cookie())[0] == {"name": "anna", "small": 1}


def test_a_stop_callback_that_fails_makes_no_request_fail(caplog):
    (shop,) = start([])
    stop_with(shop, lambda _: 1 / 0)

    assert shop.do(write(lock=LOCK)).status_code == 200

    assert "a listener failed" in caplog.text
    assert shop.ask(contents) == {"name": "anna", "lock": LOCK}


def test_a_stop_request_is_logged_also_without_a_listener(caplog):
    (shop,) = make_workers(1, **STOP)

    shop.do(write(lock=LOCK))

    assert any("distribution_stop_asked" in text for text in warnings(caplog))
