"""Replies of nodes: any bytes of a peer, in any pieces, are a reply or a documented error."""

from __future__ import annotations

from hypothesis import strategies as st
from support.fuzzing import fuzz
from support.mutation import mutated

from flask_msm.memcached.listing import Digests, Listing
from flask_msm.memcached.protocol import (
    LINE_LIMIT,
    Answer,
    ManyItems,
    ManyLooks,
    ManyValues,
    OneItem,
)
from flask_msm.memcached.statistics import STATS_LIMIT, Statistics, StatisticsAndLooks
from flask_msm.memcached.wire import WireError


MAKERS = {
    "one": lambda: OneItem(b"k"),
    "many": lambda: ManyItems({b"a": "a", b"b": "b"}),
    "values": lambda: ManyValues({b"a", b"k"}),
    "answer": lambda: Answer({b"STORED": True, b"NOT_STORED": False}),
    "statistics": Statistics,
    "probe": lambda: StatisticsAndLooks(ManyLooks(["a", "k"], ["out of memory"])),
    "listing": lambda: Listing("msm:"),
    "digests": lambda: Digests("msm:", "0123456789abcdef", 1, lambda _: None),
}
REPLIES = [
    b"END\r\n",
    b"STORED\r\n",
    b"VALUE k 0 5 7\r\nv\r\nEN\r\nEND\r\n",
    b"VALUE b 0 0 1\r\n\r\nVALUE a 4294967295 4 18446744073709551615\r\nEND\r\r\nEND\r\n",
    b"VALUE k 0 5\r\nv\r\nEN\r\nVALUE a 1 0\r\n\r\nEND\r\n",
    b"STAT pid 12\r\nSTAT version 1.6 (x y)\r\nSTAT high \xff\r\nEND\r\n",
    b"key=msm%3Aa exp=-1 la=1 cas=2 fetch=no cls=1 size=63\nkey=other exp=1\nEND\r\n",
    b"SERVER_ERROR out of memory\r\n",
    b"CLIENT_ERROR bad data chunk\r\n",
    b"BUSY currently processing crawler request\r\n",
    b"\x80\x00\x00\x00HTTP/1.1 400 Bad Request\r\n",
]
ENDS = (b"", b" ", b"\r\n")
WORDS = sorted({word + end for reply in REPLIES for word in reply.split() for end in ENDS})

makers = st.sampled_from(sorted(MAKERS)).map(MAKERS.__getitem__)
pieces = st.sampled_from(WORDS) | st.binary(max_size=9)
cuts = st.lists(st.integers(1, 40), max_size=30)


def read(make, data, sizes=()):
    """Feed *data* in pieces of *sizes*; return what came of it, and how much was left."""
    reply = make()
    position = 0
    try:
        for size in [*sizes, len(data)]:
            piece, position = data[position : position + size], position + size
            if piece and reply.feed(piece):
                return "complete", repr(reply.outcome(1)), len(data[position:])
    except WireError as error:
        assert len(str(error)) < LINE_LIMIT + 200  # noqa: PT017
        return "error", "", 0
    return "unfinished", "", 0


@fuzz(makers, st.binary(max_size=300), cuts)
def test_any_bytes_are_a_reply_an_error_or_unfinished(make, data, sizes):
    read(make, data, sizes)


@fuzz(makers, st.lists(pieces, max_size=12).map(b"".join), cuts)
def test_words_of_the_protocol_in_any_order_are_too(make, data, sizes):
    read(make, data, sizes)


@fuzz(makers, mutated(st.sampled_from(REPLIES)), cuts)
def test_pieces_mean_what_they_mean_in_one(make, data, sizes):
    apart, whole = read(make, data, sizes), read(make, data)
    if apart[0] == "complete" and apart[2]:
        # More than was asked for: seen at once, or when the connection is used again.
        assert whole[0] == "error"
    else:
        assert apart == whole


@fuzz(
    makers,
    st.binary(min_size=1, max_size=8),
    st.integers(1, 400),
    memory=4 * STATS_LIMIT,
    share=0.3,
)
def test_a_peer_that_never_ends_a_line_is_given_up(make, pattern, times):
    reply = make()
    block = (pattern * 4096)[:4096]
    try:
        for _ in range(times):
            if reply.feed(block):
                return
    except WireError:
        return
    assert len(reply._received) < 4 * 4096


@fuzz(st.integers(0, 10**20), st.integers(0, 10**20), st.sampled_from(["one", "many"]))
def test_a_length_that_is_claimed_is_not_believed(length, unique, kind):
    key = b"k" if kind == "one" else b"a"
    read(MAKERS[kind], b"VALUE %b 0 %d %d\r\nvalue\r\nEND\r\n" % (key, length, unique))
