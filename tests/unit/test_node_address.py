"""``MSM_NODES``: the forms of an address, and what is none."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_msm.errors import ConfigError
from flask_msm.settings.node_address import parse_nodes
from flask_msm.settings.settings import NodeAddress, Settings


def read(raw):
    """Return the nodes that a setting means."""
    return Settings.from_mapping({"MSM_NODES": raw}, app_name="shop").nodes


def refusal(raw):
    """Return the text that refuses a setting; the setting is in it if it holds no password."""
    with pytest.raises(ConfigError) as caught:
        read(raw)
    error = caught.value
    assert error.key == "MSM_NODES"
    if "@" not in str(raw) and not isinstance(raw, dict):
        assert error.value is raw
        assert repr(raw) in str(error)
    return str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n1:host:11212", ("n1", "host", 11212, None)),
        ("n1=host:11212", ("n1", "host", 11212, None)),
        ("host:11212", ("host-11212", "host", 11212, None)),
        ("host", ("host-11211", "host", 11211, None)),
        ("n1:11212", ("n1-11212", "n1", 11212, None)),
        ("Cache_1.Example.COM.:1", ("cache_1-example-com--1", "cache_1.example.com.", 1, None)),
        ("n1:[::1]:11212", ("n1", "::1", 11212, None)),
        ("n1:[::1]", ("n1", "::1", 11211, None)),
        ("[::1]:11212", ("1--11212", "::1", 11212, None)),
        ("[2001:DB8:0::1]", ("2001-db8--1--11211", "2001:db8::1", 11211, None)),
        ("n1:[fe80::1%eth0]:1", ("n1", "fe80::1%eth0", 1, None)),
        ("n1:unix:/run/m.sock", ("n1", None, None, "/run/m.sock")),
        ("unix:/run/m.sock", ("unix--run-m-sock", None, None, "/run/m.sock")),
        ("n1:unix:/run/a:b=c", ("n1", None, None, "/run/a:b=c")),
        ("unix:host:11212", ("unix", "host", 11212, None)),
        ("unix:11212", ("unix-11212", "unix", 11212, None)),
        ("a" * 32 + ":host:1", ("a" * 32, "host", 1, None)),
    ],
)
def test_forms_of_a_node(text, expected):
    assert read(text) == (NodeAddress(*expected),)


@pytest.mark.parametrize(
    "raw",
    [
        "n1:a:1 n2:b:2",
        "n1:a:1,n2:b:2",
        " n1:a:1 ,\n\tn2:b:2, ",
        ["n1:a:1", "n2:b:2"],
        ("n1:a:1", " n2:b:2 ", ""),
    ],
    ids=repr,
)
def test_nodes_are_separated_by_blanks_or_commas_or_in_a_list(raw):
    expected = (NodeAddress("n1", "a", 1), NodeAddress("n2", "b", 2))

    assert read(raw) == expected


@pytest.mark.parametrize("raw", [[], (), [""], ",", " , "], ids=repr)
def test_a_list_without_nodes_is_none(raw):
    assert read(raw) == ()


def test_a_path_in_a_list_may_hold_blanks_and_commas():
    (node,) = read(["n1:unix:/var/my cache,1"])

    assert node.path == "/var/my cache,1"


TEXTS = """
    host: host:0 host:65536 host:-1 host:x host:1.5 host:\u0661 n1:host n1:host: n1:host:0
    n1:host:port n1::11211 :11211 n1= =host:1 n.1:host:1 n.1=host:1 n1:n2:host:1 256.0.0.1 10.0.0:1
    a..b .a a.b/c user@host:1 http://host:1 b\u00f6rse:1 ::1 2001:db8::1 [::1 [::1]x [::1]: [::1]:0
    [1.2.3.4]:1 [:::]:1 [fe80::1%a/b] [] unix:run/m.sock unix: /run/m.sock
"""
NOT_NODES = [*TEXTS.split(), "b" * 33 + ":host:1", "localhost 11211", "a" * 64]
NOT_NODES += ["unix:/" + "x" * 107]
NOT_NODES += [["n1:a:1,n2:b:2"], ["unix:/a\nb"], ["unix:/a\0b"], [("127.0.0.1", 11211)]]
NOT_NODES += [[b"n1:a:1"], {"n1": "a:1"}, 11211, b"n1:a:1"]


@pytest.mark.parametrize("raw", NOT_NODES, ids=repr)
def test_text_that_is_not_a_node_is_refused(raw):
    assert "id:host:port, [id=]host[:port]" in refusal(raw)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("n1:a:1 n1:b:1", "'n1' is there twice"),
        ("n1:a:1 n2:a:1", "'a:1' is there twice"),
        ("n1:HOST:1 n2:host:1", "'host:1' is there twice"),
        ("n1:unix:/a unix:/a", "'unix:/a' is there twice"),
        ("a.b:1 a-b:1", "'a-b-1' is there twice"),
    ],
    ids=repr,
)
def test_two_nodes_of_the_same_id_or_address_are_refused(raw, reason):
    assert reason in refusal(raw)


@pytest.mark.parametrize("item", ["1:10.0.0.1:11211", "1=10.0.0.1", "1:[::1]:1", "1:unix:/a"])
def test_an_id_with_a_blank_in_it_is_not_taken_for_two_nodes(item):
    assert f"'n {item}' is no node; if 'n' is one" in refusal(f"n2:10.0.0.2:11211 n {item}")
    for raw in (f"n, {item}", f"n:11211 {item}", f"{item} n", ["n", item]):
        assert len(read(raw)) == 2


def test_a_long_address_makes_a_short_id_of_its_own():
    first, second = read("cache-1.rack-1.hall-1.example.com cache-1.rack-1.hall-1.example.org")

    assert len(first.id) == len(second.id) == 32
    assert first.id.startswith("cache-1-rack-1-hall-1")
    assert first.id != second.id
    assert first.id == parse_nodes("cache-1.rack-1.hall-1.example.com:11211")[0].id


def test_ids_do_not_depend_on_the_order_of_nodes():
    ids = {node.id for node in parse_nodes("b a [::1]:5 unix:/c")}

    assert ids == {node.id for node in parse_nodes("unix:/c [::1]:5 a b")}


@pytest.mark.parametrize("text", ["host:5", "[::1]:5", "unix:/run/m.sock"])
def test_a_node_is_shown_as_it_is_written(text):
    assert parse_nodes(f"n1={text}")[0].display == text


IMPOSSIBLE = [
    *({"id": "n1", "host": host, "port": port} for host, port in (("", 1), ("a", 0), ("a", 65536))),
    *({"id": node_id, "host": "a", "port": 1} for node_id in ("", "a b")),
    *({"id": "n1", **where} for where in ({}, {"host": "a"}, {"port": 1})),
    *({"id": "n1", "path": path} for path in ("a", "/" + "a" * 107)),
    *({"id": "n1", "path": "/a", **more} for more in ({"host": "a"}, {"port": 1})),
]


@pytest.mark.parametrize("arguments", IMPOSSIBLE)
def test_an_impossible_address_cannot_be_made(arguments):
    with pytest.raises(ValueError, match=r"."):
        NodeAddress(**arguments)


def test_an_address_is_frozen_and_slotted():
    node = NodeAddress("n1", "a", 1)

    with pytest.raises(FrozenInstanceError):
        node.port = 2  # type: ignore[misc]
    assert not hasattr(node, "__dict__")
    assert node.host == "a"


ids = st.from_regex(r"[A-Za-z0-9_-]{1,32}", fullmatch=True)
hosts = (
    st.from_regex(r"[a-z][a-z0-9_-]{0,10}(\.[a-z][a-z0-9]{0,5}){0,3}", fullmatch=True)
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(str)
)
sockets = st.from_regex(r"/[a-z:=/]{1,50}", fullmatch=True)
nodes = st.builds(NodeAddress, ids, hosts, st.integers(1, 65535)) | st.builds(
    lambda name, path: NodeAddress(name, path=path), ids, sockets
)


@given(nodes)
def test_every_node_is_read_back_from_its_id_and_display(node):
    assert parse_nodes(f"{node.id}={node.display}") == (node,)
    assert parse_nodes(f"{node.id}:{node.display}") == (node,)


@given(nodes)
def test_every_node_without_an_id_gets_one(node):
    (named,) = parse_nodes(node.display)

    assert named.display == node.display
    assert not named.id.startswith("-")


@given(st.text() | st.text(alphabet="n1:=[]/.,% unix"))
@example("\ud800")
@example("unix:/\ud800")
@example("[" + ":" * 50 + "]")
def test_any_text_is_nodes_or_refused(text):
    try:
        found = read(text)
    except ConfigError:
        return
    assert all(isinstance(node, NodeAddress) for node in found)
