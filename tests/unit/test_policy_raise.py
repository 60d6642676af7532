"""Policy ``raise``: the request fails with an error that names all there is to name."""

from __future__ import annotations

import pytest
from flask import session
from support.apps import make_app
from support.policies import LOCK, FailingCodec, contents, endless, make_workers, write

from flask_msm import ConfigError, SerializationError, SessionTooLargeError
from flask_msm.policies import KeepLocal, Reraise, StopDistribution, StoreNone


def test_the_error_names_attribute_path_type_endpoint_and_what_to_do():
    shop = make_app()

    with pytest.raises(SerializationError) as raised:
        shop.do(write(cart=[1, 2, 3, {"lock": LOCK}]))

    error = raised.value
    assert (error.attribute, error.path, error.type_name, error.endpoint) == (
        "cart",
        "cart[3].lock",
        "_thread.lock",
        "view",
    )
    assert error.raised == "EncodeError"
    text = str(error)
    for part in ("'cart[3].lock'", "_thread.lock", "'view'", "Store plain data", "register"):
        assert part in text


def test_the_error_handler_may_mend_the_session_for_its_own_answer():
    shop = make_app(testing=False)
    shop.app.register_error_handler(500, lambda _: (str(session.pop("lock") is LOCK), 500))
    shop.app.logger.disabled = True
    shop.do(write(name="anna"))

    assert shop.do(write(lock=LOCK)).text == "True"
    assert shop.ask(contents) == {"name": "anna"}


def test_failures_are_listed_with_their_endpoint_and_logged_once(caplog):
    shop = make_app()
    serialization = shop.state.repository.serialization

    for _ in range(2):
        with pytest.raises(SerializationError):
            shop.do(write(lock=LOCK))

    assert serialization.counts.refused == 2
    (entry,) = serialization.blacklist.all()
    assert (entry.attribute, entry.endpoint, entry.added_by) == ("lock", "view", "raise")
    assert entry.count == 2
    assert sum("attribute_refused" in record.getMessage() for record in caplog.records) == 1


def test_what_was_refused_is_logged_anew_when_another_policy_treats_it_otherwise(caplog):
    shop = make_app()
    with pytest.raises(SerializationError):
        shop.do(write(lock=LOCK))
    shop.state.repository.serialization.policy.chosen = lambda: "blacklist"

    shop.do(write(lock=LOCK))

    assert any("attribute_blacklisted" in record.getMessage() for record in caplog.records)


# -- what may happen to a value --------------------------------------------------------------------


def test_a_value_that_contains_itself_is_refused_by_name():
    shop = make_app()

    with pytest.raises(SerializationError) as raised:
        shop.do(write(cart=endless()))

    assert raised.value.attribute == "cart"
    assert "contains itself" in str(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("4111"),
        RecursionError("4111"),
        RuntimeError("dictionary changed size during iteration: 4111"),
        MemoryError("4111"),
        TypeError("4111"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_of_a_codec_fails_the_save_and_its_text_is_kept_secret(error):
    (shop,) = make_workers(1, codec=FailingCodec())
    shop.do(write(name="anna"))

    with pytest.raises(SerializationError) as raised:
        shop.do(write(card=error))

    refused = raised.value
    assert refused.attribute == "card"
    assert refused.raised == type(error).__name__
    assert f"the codec FailingCodec raised {type(error).__name__}" in str(refused)
    assert "4111" not in str(refused)
    assert refused.__cause__ is refused.__context__ is None
    assert shop.ask(contents) == {"name": "anna"}


class OneWayCodec(FailingCodec):
    """Encodes everything, and decodes nothing whose text is in *fails*."""

    def __init__(self, fails):
        self.fails = fails

    def loads(self, data):
        if self.fails in data:
            raise KeyError("4111")
        return super().loads(data)


def test_an_error_of_a_codec_that_decodes_names_the_codec_and_hides_one_attribute(caplog):
    (shop,) = make_workers(1, codec=OneWayCodec(b"broken"))
    shop.do(write(name="anna", card="broken"))

    assert shop.ask(contents) == {"name": "anna"}
    shop.do(write(name="eve"))

    assert "'card' cannot be decoded: the codec OneWayCodec raised KeyError" in caplog.text
    assert "4111" not in caplog.text
    (record, _) = shop.records().values()
    assert record.attributes.alive()["card"] == b"'broken'"


@pytest.mark.parametrize("answer", [None, "text", bytearray(b"x")], ids=repr)
def test_a_codec_that_returns_no_bytes_is_named(answer):
    class Codec(FailingCodec):
        def dumps(self, value):
            return answer

    (shop,) = make_workers(1, codec=Codec())

    with pytest.raises(SerializationError, match=r"the codec Codec returned .*, not bytes"):
        shop.do(write(name="anna"))


def test_a_request_that_is_to_end_is_not_kept_from_it():
    (shop,) = make_workers(1, codec=FailingCodec())

    with pytest.raises(KeyboardInterrupt):
        shop.do(write(card=KeyboardInterrupt()))


# -- custom policies -------------------------------------------------------------------------------


def test_a_custom_policy_decides_by_attribute():
    def policy(failure):
        match failure.attribute:
            case "lock":
                return StoreNone()
            case "job":
                return KeepLocal()
            case "worker":
                return StopDistribution()
            case _:
                return Reraise()

    (shop,) = make_workers(1, policy=policy)

    shop.do(write(lock=LOCK, job=LOCK, worker=LOCK, name="anna"))
    assert shop.ask(contents) == {"lock": None, "job": LOCK, "worker": LOCK, "name": "anna"}

    with pytest.raises(SerializationError, match="'other'"):
        shop.do(write(other=LOCK))


def test_the_error_of_a_session_too_large_does_not_advise_to_register_a_type():
    (shop,) = make_workers(1, MSM_MAX_RECORD_SIZE=1024)

    with pytest.raises(SessionTooLargeError) as caught:
        shop.do(write(small=1, big="x" * 2_000))

    text = str(caught.value)
    for part in ("'big'", "allowed are 1024 (MSM_MAX_RECORD_SIZE)", "Keep large data elsewhere"):
        assert part in text
    assert "register" not in text


def test_a_custom_policy_gets_the_facts_of_a_failure():
    seen = []
    (shop,) = make_workers(
        1,
        policy=lambda failure: (seen.append(failure), Reraise())[1],
        MSM_MAX_RECORD_SIZE=1024,
    )

    with pytest.raises(SerializationError):
        shop.do(write(cart=[LOCK]))
    with pytest.raises(SessionTooLargeError):
        shop.do(write(big="x" * 2_000))

    bad, large = seen
    assert (bad.attribute, bad.path, bad.type_name) == ("cart", "cart[0]", "_thread.lock")
    assert (bad.error, bad.endpoint, bad.too_large) == ("EncodeError", "view", False)
    assert (large.attribute, large.type_name, large.error) == (
        "big",
        "builtins.str",
        "SessionTooLargeError",
    )
    assert large.too_large
    assert large.size > 2_000
    assert large.limit == 1024


@pytest.mark.parametrize("broken", [lambda _: None, lambda _: 1 / 0], ids=["returns", "raises"])
def test_a_broken_custom_policy_fails_the_request_once_and_leaves_what_was_stored(broken, caplog):
    seen = []
    (shop,) = make_workers(1, policy=broken, testing=False)
    shop.app.register_error_handler(
        500, lambda error: (seen.append(error.original_exception), ("sorry", 500))[1]
    )
    shop.do(write(name="anna"))

    assert shop.do(write(lock=LOCK)).text == "sorry"

    (error,) = seen
    assert isinstance(error, ConfigError)
    assert "error while handling" not in caplog.text
    assert shop.ask(contents) == {"name": "anna"}
