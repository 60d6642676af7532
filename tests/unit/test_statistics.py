"""Statistics of a node are believed as far as they are possible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_msm.maintenance.node_statistics import Numbers, numbers_from, takes_meta


FOUND = {
    "pid": "17",
    "uptime": "3600",
    "version": "1.6.18",
    "curr_items": "1000",
    "bytes": "123456",
    "limit_maxbytes": "67108864",
    "get_hits": "900",
    "get_misses": "100",
    "evictions": "3",
    "evicted_unfetched": "2",
    "expired_unfetched": "40",
    "cmd_flush": "1",
    "curr_connections": "12",
    "max_connections": "1024",
    "reserved_fds": "21",
    "listen_disabled_num": "4",
    "item_size_max": "1048576",
    "time": "1800000000",
    "store_no_memory": "6",
    "store_too_large": "8",
}
COUNTED = [name for name in Numbers._fields if name not in ("at", "latency", "version", "ahead")]


def numbers(found):
    return numbers_from(found, at=5.0, latency=0.25, own=1_800_000_003.5)


@pytest.mark.parametrize(
    ("taken", "reserved", "most", "short"),
    [
        ("798", "21", "1024", False),
        ("799", "21", "1024", True),
        ("28", "11", "40", True),
        ("820", None, "1024", True),
        ("819", None, "1024", False),
        ("900", "21", None, False),
        (None, None, "1024", False),
    ],
)
def test_a_node_is_short_of_connections_from_four_fifths_on_with_those_it_keeps_for_itself(
    taken, reserved, most, short
):
    found = {"curr_connections": taken, "reserved_fds": reserved, "max_connections": most}
    given = {name: text for name, text in found.items() if text is not None}

    assert numbers(given).short_of_connections is short


def test_the_statistics_of_a_node_become_numbers():
    assert numbers(FOUND) == Numbers(
        at=5.0,
        latency=0.25,
        version="1.6.18",
        pid=17,
        uptime=3600,
        items=1000,
        bytes=123456,
        limit_bytes=67108864,
        hits=900,
        misses=100,
        evictions=3,
        evicted_unfetched=2,
        expired_unfetched=40,
        connections=12,
        max_connections=1024,
        reserved=21,
        refused_connections=4,
        item_size_max=1048576,
        ahead=-3.5,
        refused_full=6,
        refused_large=8,
    )


def test_a_missing_statistic_is_none():
    parsed = numbers({})

    assert parsed._replace(at=0, latency=0) == Numbers(0, 0, *[None] * (len(Numbers._fields) - 2))


@pytest.mark.parametrize(
    "garbage",
    ["", "-1", "+1", "1.5", "1e9", " 1", "1 ", "0x10", "nan", "inf", "1_000", "\u0663", "\u00b2"],
    ids=ascii,
)
def test_a_statistic_that_is_no_number_is_none(garbage):
    parsed = numbers(dict.fromkeys(FOUND, garbage))

    assert all(getattr(parsed, name) is None for name in COUNTED)


@pytest.mark.parametrize("digits", [21, 400, 5000, 1_000_000])
def test_a_number_memcached_cannot_mean_is_none(digits):
    parsed = numbers(dict.fromkeys(FOUND, "9" * digits))

    assert all(getattr(parsed, name) is None for name in COUNTED)


def test_the_largest_number_of_64_bits_is_taken():
    assert numbers({"bytes": str(2**64 - 1)}).bytes == 2**64 - 1


@pytest.mark.parametrize("size", ["0", "1", "1023"])
def test_an_item_size_no_memcached_can_be_set_to_is_none(size):
    """Believed, it would keep every session away from the node."""
    assert numbers({"item_size_max": size}).item_size_max is None
    assert numbers({"item_size_max": "1024"}).item_size_max == 1024


def test_a_version_is_cut_and_has_no_control_characters():
    assert numbers({"version": "9" * 5000}).version == "9" * 32
    assert numbers({"version": "1.6\x1b[31m"}).version is None
    assert numbers({"version": ""}).version is None


@given(st.dictionaries(st.sampled_from([*FOUND, "other"]), st.text()))
def test_no_statistics_raise(found):
    parsed = numbers(found)

    assert all(getattr(parsed, name) is None or getattr(parsed, name) >= 0 for name in COUNTED)


@pytest.mark.parametrize(
    ("values", "complete"),
    [
        ({"evictions": "0", "store_no_memory": "0", "store_too_large": "0"}, True),
        ({"evictions": "0"}, True),
        ({"evictions": "1"}, False),
        ({"evictions": "0", "store_no_memory": "1"}, False),
        ({"evictions": "0", "store_too_large": "1"}, False),
        ({}, False),
    ],
)
def test_a_node_is_complete_that_says_it_evicted_and_refused_nothing(values, complete):
    assert numbers(values).complete is complete


@pytest.mark.parametrize(
    ("before", "after", "another"),
    [
        ({"pid": "1", "uptime": "100"}, {"pid": "1", "uptime": "105"}, False),
        ({"pid": "1", "uptime": "100"}, {"pid": "2", "uptime": "105"}, True),
        ({"pid": "1", "uptime": "100"}, {"pid": "1", "uptime": "1"}, True),
        ({}, {"pid": "1", "uptime": "1"}, True),
    ],
)
def test_another_start_of_a_node_shows_in_its_pid_or_in_its_uptime(before, after, another):
    first, then = (
        numbers_from(values, at=at, latency=0) for values, at in [(before, 10), (after, 15)]
    )

    assert then.is_of_another_start(first) is another


@pytest.mark.parametrize(
    ("version", "evictions", "taken"),
    [
        ("1.6.18", "on", True),
        ("1.6.13", "on", True),
        ("1.6.12", "on", False),
        ("1.6.9", "on", False),
        ("1.7.0", "on", True),
        ("1.6.21_debian", "on", True),
        ("1.6.1300", "on", True),
        ("1.6", "on", False),
        ("1.6.13", "off", False),
        ("1.6.18", None, False),
        ("in-memory", "on", False),
        ("9" * 30 + ".9.9", "on", False),
        ("", "on", False),
        (None, "on", False),
    ],
)
def test_meta_commands_go_to_servers_that_know_them_and_make_room(version, evictions, taken):
    settings = {} if evictions is None else {"evictions": evictions}

    assert takes_meta(version, settings) is taken
