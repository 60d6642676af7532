"""The memcached protocol as bytes: commands, and replies in pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from flask_msm.memcached import wire
from flask_msm.memcached.listing import Listing
from flask_msm.memcached.protocol import (
    LINE_LIMIT,
    VALUE_LIMIT,
    Answer,
    CasToken,
    Item,
    ManyItems,
    ManyValues,
    OneItem,
    Values,
)
from flask_msm.memcached.statistics import STATS_LIMIT, Statistics


STORED = {b"STORED": True, b"NOT_STORED": False}
SECRET = "attackers-text"


def one():
    return OneItem(b"k")


def many():
    return ManyItems({b"a": "a", b"b": "b"})


def values():
    return ManyValues({b"a", b"b"})


def answer():
    return Answer(STORED)


def listing():
    return Listing("m:")


ITEM = b"VALUE k 0 5 7\r\nv\r\nEN\r\nEND\r\n"
ITEMS = b"VALUE b 0 0 1\r\n\r\nVALUE a 4294967295 4 18446744073709551615\r\nEND\r\r\nEND\r\n"
VALUES = b"VALUE b 0 0\r\n\r\nVALUE a 4294967295 4\r\nEND\r\r\nEND\r\n"
KEYS = (
    b"key=m%3A1 exp=-1 la=1 cas=2 fetch=no cls=1 size=63\n"
    b"key=o%3A1 exp=9 la=1 cas=3 fetch=no cls=1 size=63 flags=0\nEND\r\n"
)
STATS = b"STAT pid 12\r\nSTAT version 1.6 (x y)\r\nSTAT empty \r\nSTAT high \xff\r\nEND\r\n"

COMPLETE = [
    (one, b"END\r\n", None),
    (one, ITEM, Item(b"v\r\nEN", CasToken(b"7", 3))),
    (one, b"VALUE k 0 0 7\r\n\r\nEND\r\n", Item(b"", CasToken(b"7", 3))),
    (many, b"END\r\n", {}),
    (
        many,
        ITEMS,
        {
            "b": Item(b"", CasToken(b"1", 3)),
            "a": Item(b"END\r", CasToken(b"18446744073709551615", 3)),
        },
    ),
    (values, b"END\r\n", Values(b"END\r\n", {})),
    (values, VALUES, Values(VALUES, {b"b": (13, 13), b"a": (37, 41)})),
    (answer, b"STORED\r\n", True),
    (answer, b"NOT_STORED\r\n", False),
    (listing, b"END\r\n", []),
    (listing, KEYS, ["m:1"]),
    # From memcached 1.6.43 on.
    (listing, b"OK\r\n" + KEYS, ["m:1"]),
    (listing, b"OK\r\nEND\r\n", []),
    (Statistics, b"END\r\n", {}),
    (
        Statistics,
        STATS,
        {"pid": "12", "version": "1.6 (x y)", "empty": "", "high": "\N{REPLACEMENT CHARACTER}"},
    ),
]


def test_commands_are_what_memcached_takes():
    assert wire.gets([b"a", b"b"]) == b"gets a b\r\n"
    assert wire.get(["a", "b"]) == b"get a b\r\n"
    assert wire.add(b"k", b"v\r\n", 60) == b"add k 0 60 3\r\nv\r\n\r\n"
    assert wire.cas(b"k", b"", 60, b"7") == b"cas k 0 60 0 7\r\n\r\n"
    assert wire.delete(b"k") == b"delete k\r\n"
    assert wire.stats([]) == b"stats\r\n"
    assert wire.stats([b"settings"]) == b"stats settings\r\n"


def test_no_command_asks_for_no_reply():
    """Without a reply a lost command would go unnoticed."""
    commands = [wire.add(b"k", b"v", 1), wire.cas(b"k", b"v", 1, b"1")]
    assert not any(b"noreply" in command for command in commands)


def test_a_password_is_never_left_in_a_server_that_does_not_ask_for_one():
    assert wire.authenticate("u", "p w") == b"set auth 0 -1 5\r\nu p w\r\n"


@pytest.mark.parametrize("key", ["k", "k" * 250, "msm:app:0123456789abcdef", "~!"])
def test_a_legal_key_is_sent_as_it_is(key):
    assert wire.key_bytes(key) == key.encode("ascii")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "k" * 251,
        "a b",
        "a\r\nb",
        "a\0b",
        "a\x7fb",
        "ä",
        "\ud800",
    ],
)
def test_an_illegal_key_is_not_sent(key):
    with pytest.raises(wire.IllegalKeyError):
        wire.key_bytes(key)


@pytest.mark.parametrize("keys", [[], [""], ["a", ""], ["a", "k" * 251], ["a\nb"], ["a b"], ["ä"]])
def test_many_keys_of_which_one_is_illegal_are_not_sent(keys):
    with pytest.raises(wire.IllegalKeyError):
        wire.get(keys)


def test_values_are_named_by_their_keys():
    reply = values()
    assert reply.feed(VALUES)
    assert reply.outcome(0).by_key() == {"b": b"", "a": b"END\r"}


@pytest.mark.parametrize("ttl", [1, 60, 30 * 86400, 2**31 - 1])
def test_a_ttl_within_the_limits_is_taken(ttl):
    assert wire.checked_ttl(ttl) == ttl


def test_an_item_that_does_not_end_is_asked_for_in_so_many_words():
    assert wire.checked_ttl(None) == 0


@pytest.mark.parametrize("ttl", [0, -1, 2**31, 2**32 + 5, 1.0, True, "60"])
def test_a_ttl_that_would_mean_something_else_is_a_bug(ttl):
    """0 is for ever, -1 and 2^31 are gone at once, 2^32 + 5 wraps around."""
    with pytest.raises(ValueError, match="TTL"):
        wire.checked_ttl(ttl)


@pytest.mark.parametrize(("make", "data", "outcome"), COMPLETE)
def test_a_reply_reads_the_same_in_one_piece_in_two_and_byte_by_byte(make, data, outcome):
    for cut in range(1, len(data)):
        reply = make()
        assert not reply.feed(data[:cut])
        assert reply.feed(data[cut:])
        assert reply.outcome(3) == outcome
    whole, single = make(), make()
    assert whole.feed(data)
    assert [single.feed(bytes([byte])) for byte in data] == [False] * (len(data) - 1) + [True]
    assert whole.outcome(3) == single.outcome(3) == outcome


@pytest.mark.parametrize(("make", "data", "outcome"), COMPLETE)
def test_a_reply_that_is_reset_has_forgotten_what_came_in(make, data, outcome):
    reply = make()
    for cut in range(1, len(data)):
        reply.feed(data[:cut])
        reply.reset()
    assert reply.feed(data)
    assert reply.outcome(3) == outcome


@pytest.mark.parametrize(("make", "data", "outcome"), COMPLETE)
def test_one_byte_more_than_the_reply_is_garbage(make, data, outcome):
    """What comes behind a reply would be taken for the next one."""
    with pytest.raises(wire.ProtocolError):
        make().feed(data + b"x")
    with pytest.raises(wire.ProtocolError):
        make().feed(data + data)


GARBAGE = [
    (one, b"VALUE other 0 1 7\r\nv\r\nEND\r\n"),
    (one, b"VALUE k 0 1\r\nv\r\nEND\r\n"),
    (one, b"VALUE k 0 -1 7\r\nv\r\nEND\r\n"),
    (one, b"VALUE k 0 1 7 \r\nv\r\nEND\r\n"),
    (one, b"VALUE k 0 1 123456789012345678901\r\nv\r\nEND\r\n"),
    (one, b"VALUE k 0 %d 7\r\n" % (VALUE_LIMIT + 1)),
    (one, b"VALUE k 0 1 7\r\nvv\r\nEND\r\n"),
    (one, b"VALUE k 0 1 7\r\nv\r\nVALUE k 0 1 7\r\nv\r\nEND\r\n"),
    (one, b"STORED\r\n"),
    (one, b"\r\n"),
    (one, b"x" * (LINE_LIMIT + 1)),
    (many, b"VALUE c 0 1 7\r\nv\r\nEND\r\n"),
    (many, b"VALUE a 0 1 7\r\nv\r\nVALUE a 0 1 7\r\nv\r\nEND\r\n"),
    (many, b"VALUE a 0 %d 7\r\n" % (VALUE_LIMIT + 1)),
    (many, b"VALUE a 0 1 7\r\nv\r\nVALUE b 0 %d 7\r\n" % VALUE_LIMIT),
    (values, b"VALUE c 0 1\r\nv\r\nEND\r\n"),
    (values, b"VALUE a 0 1 7\r\nv\r\nEND\r\n"),
    (values, b"VALUE a 0 1\r\nvv\r\nEND\r\n"),
    (values, b"VALUE a 0 1\r\nv\r\nVALUE a 0 1\r\nv\r\nEND\r\n"),
    (values, b"VALUE a 0 %d\r\n" % (VALUE_LIMIT + 1)),
    (values, b"STORED\r\n"),
    (values, b"x" * (LINE_LIMIT + 1)),
    (answer, b"DELETED\r\n"),
    (answer, b"stored\r\n"),
    (answer, b"STORED\n" + b"x" * LINE_LIMIT),
    (listing, b"OK\r\nOK\r\n"),
    (listing, KEYS[:-5] + b"OK\r\n"),
    (Statistics, b"ITEM k [1 b; 0 s]\r\n"),
    (Statistics, b"STAT onlyname\r\n"),
    (Statistics, b"x" * (LINE_LIMIT + 1)),
    (Statistics, b"STAT name value\r\n" * (STATS_LIMIT // 17 + 1)),
]


@pytest.mark.parametrize(("make", "data"), GARBAGE, ids=range(len(GARBAGE)))
def test_data_that_is_no_answer_to_the_command_is_a_protocol_error(make, data):
    with pytest.raises(wire.ProtocolError):
        make().feed(data)


@pytest.mark.parametrize("make", [one, many, values, answer, Statistics])
@pytest.mark.parametrize(
    ("line", "kind", "text"),
    [
        (b"ERROR Too many open connections", "ERROR", "Too many open connections"),
        (b"CLIENT_ERROR unauthenticated", "CLIENT_ERROR", "unauthenticated"),
        (b"SERVER_ERROR out of memory", "SERVER_ERROR", "out of memory"),
        (b"SERVER_ERROR", "SERVER_ERROR", ""),
    ],
)
def test_an_error_line_says_what_it_is(make, line, kind, text):
    reply = make()
    assert not reply.feed(line[:5])
    with pytest.raises(wire.ServerError) as caught:
        reply.feed(line[5:] + b"\r\n")
    assert (caught.value.kind, caught.value.text) == (kind, text)


@pytest.mark.parametrize("make", [one, many, values, answer])
def test_an_unknown_command_is_refused_when_more_errors_follow(make):
    """memcached answers to the lines of a value as well when it took no command before it."""
    with pytest.raises(wire.ServerError, match=r"^ERROR$"):
        make().feed(b"ERROR\r\nERROR\r\n")


def test_a_server_may_give_no_statistics():
    with pytest.raises(wire.UnsupportedError):
        Statistics().feed(b"ERROR\r\n")


@pytest.mark.parametrize("make", [one, many, values, answer, Statistics])
@pytest.mark.parametrize("prefix", [b"", b"ERROR ", b"CLIENT_ERROR ", b"VALUE ", b"STAT"])
def test_no_message_repeats_what_the_peer_said(make, prefix):
    with pytest.raises(wire.WireError) as caught:
        make().feed(prefix + SECRET.encode() + b"\r\n")
    assert SECRET not in str(caught.value)


def test_a_large_value_comes_in_pieces():
    value = bytes(range(256)) * 4096
    data = b"VALUE k 0 %d 9\r\n%b\r\nEND\r\n" % (len(value), value)
    for reply in (one(), ManyItems({b"k": "k"})):
        pieces = [reply.feed(data[at : at + 65536]) for at in range(0, len(data), 65536)]
        assert pieces == [False] * (len(pieces) - 1) + [True]
        outcome = reply.outcome(0)
        item = outcome["k"] if isinstance(outcome, dict) else outcome
        assert item.value == value
        assert type(item.value) is bytes


WORDS = b"VALUE k 0 1 7\r\n|VALUE a 0 2 7\r\n|v|\r\n|END|STORED|ERROR|STAT a b| |\0|CLIENT_ERROR "
PIECES = st.lists(st.sampled_from(WORDS.split(b"|")) | st.binary(max_size=6), max_size=8)
