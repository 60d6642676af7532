"""``assert_serializable`` names what cannot be stored."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from flask import session
from support.apps import make_app

from flask_msm.record.codec.msgpack import MsgpackCodec
from flask_msm.testing import assert_serializable


ROOT = Path(__file__).parents[2]


@dataclass
class Address:
    town: str


def test_serializable_contents_pass():
    assert_serializable({"user": 7, "seen": datetime.now(UTC), "sum": Decimal("1.5"), "tags": {1}})


def test_path_and_type_of_everything_that_cannot_be_stored_are_named():
    contents = {"cart": [1, {"lock": threading.Lock()}], "user": 7, "made": Address("Ulm")}

    with pytest.raises(AssertionError) as raised:
        assert_serializable(contents)

    assert "cart[1].lock (_thread.lock)" in str(raised.value)
    assert f"made ({__name__}.Address): a dataclass that is not registered" in str(raised.value)
    assert "user" not in str(raised.value)


def test_values_are_not_shown():
    with pytest.raises(AssertionError) as raised:
        assert_serializable({"made": Address("4111111111111111")})

    assert "4111" not in str(raised.value)


def test_types_registered_with_a_codec_pass_with_it():
    codec = MsgpackCodec()
    codec.register_dataclass(Address)

    assert_serializable({"made": Address("Ulm")}, codec=codec)


def test_a_codec_that_fails_is_named_without_the_text_of_its_error():
    class Codec(MsgpackCodec):
        def dumps(self, value):
            raise RuntimeError("4111")

    with pytest.raises(AssertionError, match="the codec Codec raised RuntimeError") as raised:
        assert_serializable({"made": 1}, codec=Codec())

    assert "4111" not in str(raised.value)


def test_names_that_cannot_be_a_text_are_refused():
    assert_serializable({1: "one", None: "none"})

    with pytest.raises(AssertionError, match="a name is a tuple: a name must be a text"):
        assert_serializable({(1,): "one"})
    with pytest.raises(AssertionError, match="a name is a int: the text that stands for it"):
        assert_serializable({1: "one", "1": "uno"})


def test_contents_that_the_current_application_takes_pass():
    shop, strict = make_app(), make_app(name="strict", MSM_STRICT_TYPES=True)

    shop.do(lambda: assert_serializable({1: Address("Ulm")}))
    for contents in ({1: "one"}, {"made": Address("Ulm")}):
        with pytest.raises(AssertionError):
            strict.do(lambda contents=contents: assert_serializable(contents))


def test_a_session_is_taken_as_it_is():
    shop = make_app()

    def view():
        session["cart"] = [1]
        assert_serializable(session)
        session["lock"] = threading.Lock()
        with pytest.raises(AssertionError, match=r"lock \(_thread\.lock\)"):
            assert_serializable(session)
        del session["lock"]

    shop.do(view)


def test_the_extension_imports_neither_the_kit_nor_pytest():
    program = (
        "import sys, flask_msm, flask_msm_dashboard;"
        "print([name for name in sys.modules if 'testing' in name and 'msm' in name"
        " or name == 'pytest'])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'dashboard'}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.strip() == "[]"
