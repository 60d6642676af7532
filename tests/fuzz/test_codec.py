"""Values of attributes: any bytes are a value or refused, within bounds."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from support.codec_values import VALUES, dumps
from support.fuzzing import fuzz
from support.mutation import mutated

from flask_msm.errors import DecodeError
from flask_msm.record.codec.msgpack import MsgpackCodec


class Opened:
    """A type of an application."""

    def __init__(self, text):
        self.text = text


def decode(value):
    if type(value) is not str:
        raise LookupError("not what was encoded")
    return Opened(value)


REGISTERED = MsgpackCodec()
REGISTERED.register(Opened, "opened", lambda opened: opened.text, decode)
SAMPLES = st.sampled_from(
    [REGISTERED.dumps(Opened("text")), REGISTERED.dumps([Opened("a"), {"b": (1, {2})}])]
) | VALUES.map(dumps)


def value_or_refusal(data):
    try:
        REGISTERED.loads(data)
    except DecodeError as error:
        # What is behind it might show what is stored.
        assert error.__cause__ is error.__context__ is None  # noqa: PT017


@fuzz(st.binary(max_size=400) | st.binary(max_size=60).map(lambda data: b"\xc1" + data))
def test_any_bytes_are_a_value_or_refused(data):
    value_or_refusal(data)


@fuzz(SAMPLES, st.integers(0, 10_000))
def test_every_cut_is_refused(data, end):
    with pytest.raises(DecodeError):
        REGISTERED.loads(data[: end % len(data)])


@fuzz(mutated(SAMPLES))
def test_changed_values_are_values_or_refused(data):
    value_or_refusal(data)


LENGTHS = st.sampled_from([bytes([mark]) for mark in b"\xdd\xdf\xdb\xc6\xc9\xdc\xde\xda\x9f\x8f"])


@fuzz(st.lists(st.tuples(LENGTHS, st.binary(max_size=5)), min_size=1, max_size=60))
def test_lengths_that_are_claimed_are_not_believed(parts):
    data = b"".join(mark + claimed for mark, claimed in parts)
    value_or_refusal(data)
    value_or_refusal(b"\xc1" + data)


@fuzz(st.integers(0, 100_000), st.sampled_from([b"\x91", b"\x81\xa1a", b"\xc1\x91", b"\x92\xc0"]))
def test_any_depth_is_read_or_refused(depth, level):
    value_or_refusal((level * depth)[:200_000] + b"\x01")
