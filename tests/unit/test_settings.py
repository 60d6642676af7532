"""Settings: what every key may be, what it becomes, and how a wrong one is refused."""

from __future__ import annotations

import ast
import base64
import logging
import re
import ssl
from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import flask_msm.settings.settings as settings_module
from flask_msm.errors import ConfigError
from flask_msm.settings.node_address import parse_nodes
from flask_msm.settings.settings import NodeAddress, Settings, setting_docs


DEFAULTS = {
    "MSM_ENABLED": True,
    "MSM_ENVIRONMENT": None,
    "MSM_NODES": (),
    "MSM_FAILOVER_NODES": (),
    "MSM_REPLICAS": 2,
    "MSM_KEY_PREFIX": "msm:shop:",
    "MSM_CONNECT_TIMEOUT": 0.25,
    "MSM_TIMEOUT": 0.25,
    "MSM_REQUEST_DEADLINE": 1.0,
    "MSM_RETRY_ATTEMPTS": 1,
    "MSM_RETRY_DELAY": 0.02,
    "MSM_POOL_SIZE": 8,
    "MSM_FAILURE_THRESHOLD": 3,
    "MSM_RECOVERY_THRESHOLD": 2,
    "MSM_PROBE_INTERVAL": 2.0,
    "MSM_PROBE_MAX_BACKOFF": 10.0,
    "MSM_BACKUP_ASYNC": False,
    "MSM_REGENERATE_GRACE": 10.0,
    "MSM_IGNORE_PATTERN": None,
    "MSM_TLS_CONTEXT": None,
    "MSM_AUTH": None,
    "MSM_STICKY": False,
    "MSM_ROUTE": None,
    "MSM_NEAR_MAX_AGE": 5.0,
    "MSM_LOCAL_CACHE": "filesystem",
    "MSM_LOCAL_DIR": None,
    "MSM_LOCAL_MAX_SESSIONS": 50_000,
    "MSM_LOCAL_MAX_BYTES": None,
    "MSM_MIRROR": True,
    "MSM_ON_RECONNECT": "promote",
    "MSM_ON_UNKNOWN": "detached",
    "MSM_SERIALIZATION_POLICY": "raise",
    "MSM_STRICT_TYPES": False,
    "MSM_BLACKLIST": (),
    "MSM_ATTRIBUTE_FILTER": None,
    "MSM_MAX_RECORD_SIZE": 1_000_000,
    "MSM_COMPRESS_ABOVE": 4096,
    "MSM_IDLE_TIMEOUT": None,
    "MSM_ABSOLUTE_TIMEOUT": None,
    "MSM_ADMIN": True,
    "MSM_ADMIN_URL": "/msm-admin",
    "MSM_ADMIN_ACCESS": None,
    "MSM_ADMIN_TRUSTED_ORIGINS": (),
    "MSM_ADMIN_HEALTH_PUBLIC": False,
    "MSM_ADMIN_HIDE_ADDRESSES": False,
    "MSM_ADMIN_HIDE_ERRORS": False,
    "MSM_ENCRYPTION_KEYS": None,
}
SECRETS = {"MSM_AUTH", "MSM_ENCRYPTION_KEYS"}
BOOLEANS = [key for key, value in DEFAULTS.items() if isinstance(value, bool)]
WHOLE = [key for key, value in DEFAULTS.items() if type(value) is int] + ["MSM_LOCAL_MAX_BYTES"]
SECONDS = [key for key, value in DEFAULTS.items() if type(value) is float] + [
    "MSM_IDLE_TIMEOUT",
    "MSM_ABSOLUTE_TIMEOUT",
]
EMPTY_IS_NONE = [key for key, value in DEFAULTS.items() if value in (None, ())]
TWO_NODES = "n1:10.0.0.1:11211 n2:10.0.0.2:11211"


class Cache:
    """As much of a cachelib cache as is looked at."""

    def get(self, key):
        """Find nothing."""

    def set(self, key, value, timeout=None):
        """Keep nothing."""

    def delete(self, key):
        """Remove nothing."""


def read(testing: bool = False, **config: Any) -> Settings:
    return Settings.from_mapping(config, app_name="shop", testing=testing)


def value_of(key: str, raw: Any) -> Any:
    return getattr(read(**{key: raw}), key.removeprefix("MSM_").lower())


def refusal(**config: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(**config)
    return caught.value


def assert_refused(key: str, raw: Any) -> ConfigError:
    error = refusal(**{key: raw})

    assert error.key == key
    assert error.allowed
    if key in SECRETS:
        assert error.value == "***"
    else:
        assert error.value is raw
        assert repr(raw) in str(error)
    assert str(error).startswith(f"{key} is ")
    assert error.allowed in str(error)
    return error


# The table of settings


def test_every_key_of_the_design_has_its_default():
    settings = read()
    values = {f"MSM_{f.name.upper()}": getattr(settings, f.name) for f in fields(settings)}

    assert values == DEFAULTS
    assert {k: type(v) for k, v in values.items()} == {k: type(v) for k, v in DEFAULTS.items()}


def test_every_key_is_documented_with_what_it_may_be():
    docs = {doc.key: doc for doc in setting_docs()}

    assert list(docs) == list(DEFAULTS)
    assert {key for key, doc in docs.items() if doc.secret} == SECRETS
    for key, doc in docs.items():
        assert doc.help.endswith(".")
        assert assert_refused(key, object()).allowed.startswith(doc.allowed)


def test_documented_defaults_are_the_defaults_unless_they_are_not_constants():
    in_words = {
        "MSM_NODES": "None",
        "MSM_FAILOVER_NODES": "None",
        "MSM_KEY_PREFIX": "'msm:<app name>:'",
        "MSM_PROBE_INTERVAL": "2.0 (0 when TESTING)",
        "MSM_PROBE_MAX_BACKOFF": "10.0, or MSM_PROBE_INTERVAL if that is more",
    }
    expected = {key: in_words.get(key, repr(value)) for key, value in DEFAULTS.items()}

    assert {doc.key: doc.default for doc in setting_docs()} == expected


@pytest.mark.parametrize("key", SECONDS)
def test_durations_name_their_unit(key):
    doc = next(doc for doc in setting_docs() if doc.key == key)

    assert "seconds" in doc.allowed
    assert "ime in seconds" in doc.help


def test_settings_are_frozen_and_slotted():
    settings = read()

    with pytest.raises(FrozenInstanceError):
        settings.replicas = 3  # type: ignore[misc]
    assert not hasattr(settings, "__dict__")


def test_the_words_of_choices_are_those_of_their_types():
    hints = get_type_hints(Settings)
    for key in ("MSM_SERIALIZATION_POLICY", "MSM_ON_RECONNECT", "MSM_ON_UNKNOWN"):
        for word in get_args(hints[key.removeprefix("MSM_").lower()]):
            assert value_of(key, word) == word


def test_settings_know_no_third_party_library():
    folder = Path(settings_module.__file__).parent
    imported = set()
    for file in folder.glob("*.py"):
        for statement in ast.parse(file.read_text()).body:
            if isinstance(statement, ast.Import):
                imported |= {alias.name for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom):
                imported.add(statement.module)

    assert not {name for name in imported if name.startswith(("flask.", "werkzeug", "cachelib"))}
    assert "flask" not in imported


# Reading the mapping


def test_other_keys_are_not_looked_at_and_the_mapping_is_not_changed():
    config = {"SECRET_KEY": "x", "msm_replicas": 0, 5: 6, "MSMX": 1, "MSM_REPLICAS": "3"}

    settings = Settings.from_mapping(MappingProxyType(config), app_name="shop")

    assert settings.replicas == 3
    assert config["MSM_REPLICAS"] == "3"


@pytest.mark.parametrize("key", DEFAULTS)
@pytest.mark.parametrize("raw", [None, "", "  "], ids=repr)
def test_nothing_is_the_default(key, raw):
    assert value_of(key, raw) == DEFAULTS[key]


@pytest.mark.parametrize("key", EMPTY_IS_NONE)
@pytest.mark.parametrize("word", ["none", "None", " NONE "])
def test_the_word_none_is_none_where_that_is_the_default(key, word):
    assert value_of(key, word) == DEFAULTS[key]


@pytest.mark.parametrize("key", [key for key in DEFAULTS if key not in EMPTY_IS_NONE])
@pytest.mark.parametrize("word", ["none", "None", " NONE "])
def test_the_word_none_is_refused_where_there_is_a_default(key, word):
    assert_refused(key, word)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("MSM_REPLICA", "MSM_REPLICAS"),
        ("MSM_NODE", "MSM_NODES"),
        ("MSM_nodes", "MSM_NODES"),
        ("MSM_PROBE_INTERVALL", "MSM_PROBE_INTERVAL"),
        ("MSM_ADMIN_TRUSTED_ORIGIN", "MSM_ADMIN_TRUSTED_ORIGINS"),
        ("MSM_POLICY", ""),
        ("MSM_", ""),
        ("MSM_QQQ", ""),
    ],
    ids=repr,
)
def test_an_unknown_key_is_refused_with_the_nearest_name(key, nearest):
    error = refusal(**{key: "some value"})

    assert error.key == key
    assert error.value == "some value"
    assert f"the nearest is {nearest}" in error.allowed
    assert re.search("nearest is (MSM_[A-Z_]+)", error.allowed)[1] in DEFAULTS


@pytest.mark.parametrize(
    ("key", "instead"),
    [
        ("MSM_SECRET", "SECRET_KEY,"),
        ("MSM_SECRET_KEY", "SECRET_KEY,"),
        ("MSM_SECRETS", "SECRET_KEY and SECRET_KEY_FALLBACKS,"),
    ],
)
def test_the_error_of_a_key_for_the_secret_names_the_right_place(key, instead):
    error = refusal(**{key: "a secret of mine"})

    assert f"signed with {instead}" in str(error)
    assert "a secret of mine" not in str(error)


def test_an_unknown_key_is_refused_even_when_it_is_none():
    assert refusal(MSM_REPLICA=None).key == "MSM_REPLICA"


@pytest.mark.parametrize("argument", ["codec", "scheduler", "clock", "policy"])
def test_an_argument_of_the_constructor_is_not_a_key(argument):
    error = refusal(**{f"MSM_{argument.upper()}": "x"})

    assert f"{argument} is an argument of MemcachedSessionManager" in str(error)


@pytest.mark.parametrize(
    "key", ["MSM_AUHT", "MSM_AUTHS", "MSM_ENCRYPTION_KEY", "MSM_PASSWORD", "MSM_SECRET"]
)
def test_an_unknown_key_that_may_be_a_secret_is_not_shown(key):
    error = refusal(**{key: "ops:swordfish"})

    assert error.value == "***"
    assert "swordfish" not in str(error)


# Booleans


@pytest.mark.parametrize("key", BOOLEANS)
@pytest.mark.parametrize("raw", [True, 1, "true", "True", "YES", "on", "1", " On "], ids=repr)
def test_words_for_true(key, raw):
    assert value_of(key, raw) is True


@pytest.mark.parametrize("key", BOOLEANS)
@pytest.mark.parametrize("raw", [False, 0, "false", "FALSE", "No", "off", "0", " oFF "], ids=repr)
def test_words_for_false(key, raw):
    assert value_of(key, raw) is False


@pytest.mark.parametrize("key", BOOLEANS)
@pytest.mark.parametrize("raw", ["y", "t", "maybe", 2, -1, 1.0, [], b"true"], ids=repr)
def test_nothing_else_is_a_boolean(key, raw):
    assert "true, yes, on, 1, false, no, off, 0" in str(assert_refused(key, raw))


# Numbers


@pytest.mark.parametrize("key", WHOLE)
@pytest.mark.parametrize("raw", [4096, "4096", " 4096 ", 4096.0, "4096.0", "4.096e3"], ids=repr)
def test_whole_numbers_may_be_text(key, raw):
    value = value_of(key, raw if key != "MSM_LOCAL_MAX_BYTES" else float(raw) * 1000)

    assert value in (4096, 4_096_000)
    assert type(value) is int


@pytest.mark.parametrize("key", SECONDS)
@pytest.mark.parametrize("raw", [45, 45.0, "45", "4.5e1", timedelta(seconds=45)], ids=repr)
def test_seconds_may_be_text_or_a_timedelta(key, raw):
    value = value_of(key, raw)

    assert value == 45.0
    assert type(value) is float


@pytest.mark.parametrize("key", WHOLE + SECONDS)
@pytest.mark.parametrize(
    "raw",
    [
        True,
        False,
        "true",
        -1,
        "-1",
        -0.5,
        float("nan"),
        "nan",
        float("inf"),
        "inf",
        "-Infinity",
        "1e999",
        "ten",
        "0x10",
        "5 s",
        1 + 1j,
        b"5",
        [5],
        timedelta(seconds=-1),
    ],
    ids=repr,
)
def test_nothing_else_is_a_number(key, raw):
    assert_refused(key, raw)


@pytest.mark.parametrize("key", WHOLE)
@pytest.mark.parametrize("raw", [4096.5, "4096.5", timedelta(seconds=4096)], ids=repr)
def test_a_count_is_whole(key, raw):
    assert "whole number" in str(assert_refused(key, raw))


def test_a_number_beyond_all_floats_is_refused():
    assert_refused("MSM_TIMEOUT", 10**400)
    assert_refused("MSM_MAX_RECORD_SIZE", "9" * 400)


@pytest.mark.parametrize(
    ("key", "least"),
    [
        ("MSM_REPLICAS", 1),
        ("MSM_RETRY_ATTEMPTS", 0),
        ("MSM_POOL_SIZE", 1),
        ("MSM_FAILURE_THRESHOLD", 1),
        ("MSM_RECOVERY_THRESHOLD", 1),
        ("MSM_LOCAL_MAX_SESSIONS", 1),
        ("MSM_MAX_RECORD_SIZE", 1024),
        ("MSM_COMPRESS_ABOVE", 0),
    ],
    ids=repr,
)
def test_least_counts(key, least):
    assert value_of(key, least) == least
    assert f"at least {least}" in str(assert_refused(key, least - 1))


def test_largest_record():
    assert value_of("MSM_MAX_RECORD_SIZE", 128 * 1024**2) == 134_217_728
    assert "at most 134217728" in str(assert_refused("MSM_MAX_RECORD_SIZE", 128 * 1024**2 + 1))


@pytest.mark.parametrize(
    "key", ["MSM_RETRY_DELAY", "MSM_PROBE_INTERVAL", "MSM_REGENERATE_GRACE", "MSM_NEAR_MAX_AGE"]
)
@pytest.mark.parametrize("raw", [0, "0", 0.0, timedelta(0)], ids=repr)
def test_durations_that_may_be_zero(key, raw):
    assert value_of(key, raw) == 0.0


@pytest.mark.parametrize(
    "key",
    [
        "MSM_CONNECT_TIMEOUT",
        "MSM_TIMEOUT",
        "MSM_REQUEST_DEADLINE",
        "MSM_PROBE_MAX_BACKOFF",
        "MSM_IDLE_TIMEOUT",
        "MSM_ABSOLUTE_TIMEOUT",
    ],
)
@pytest.mark.parametrize("raw", [0, "0", -0.0, timedelta(0)], ids=repr)
def test_durations_that_may_not_be_zero(key, raw):
    assert "above 0" in str(assert_refused(key, raw))


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ("MSM_CONNECT_TIMEOUT", 60),
        ("MSM_TIMEOUT", 60),
        ("MSM_REQUEST_DEADLINE", 60),
        ("MSM_RETRY_DELAY", 60),
        ("MSM_PROBE_MAX_BACKOFF", 86_400),
        ("MSM_PROBE_INTERVAL", 3600),
        ("MSM_REGENERATE_GRACE", 3600),
        ("MSM_NEAR_MAX_AGE", 86_400),
        ("MSM_IDLE_TIMEOUT", 315_360_000),
        ("MSM_ABSOLUTE_TIMEOUT", 315_360_000),
    ],
    ids=repr,
)
def test_longest_durations(key, most):
    """Milliseconds given for seconds are noticed."""
    assert value_of(key, most) == most
    assert f"at most {most}" in str(assert_refused(key, most + 1))


@pytest.mark.parametrize(
    ("config", "interval"),
    [({}, 0.0), ({"MSM_PROBE_INTERVAL": ""}, 0.0), ({"MSM_PROBE_INTERVAL": "1.5"}, 1.5)],
)
def test_tests_have_no_probes_unless_they_ask_for_them(config, interval):
    assert read(testing=True, **config).probe_interval == interval


# Nodes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n1:host:11212", ("n1", "host", 11212, None)),
        ("n1=host:11212", ("n1", "host", 11212, None)),
        ("n1=host", ("n1", "host", 11211, None)),
        ("host:11212", ("host-11212", "host", 11212, None)),
        ("host", ("host-11211", "host", 11211, None)),
        ("n1:11212", ("n1-11212", "n1", 11212, None)),
        ("127.0.0.1", ("127-0-0-1-11211", "127.0.0.1", 11211, None)),
        ("Cache_1.Example.COM.:1", ("cache_1-example-com--1", "cache_1.example.com.", 1, None)),
        ("N_1:host:65535", ("N_1", "host", 65535, None)),
        ("n1:[::1]:11212", ("n1", "::1", 11212, None)),
        ("n1:[::1]", ("n1", "::1", 11211, None)),
        ("n1=[::1]:11212", ("n1", "::1", 11212, None)),
        ("n1=[::1]", ("n1", "::1", 11211, None)),
        ("[::1]:11212", ("1--11212", "::1", 11212, None)),
        ("[2001:DB8:0::1]", ("2001-db8--1--11211", "2001:db8::1", 11211, None)),
        ("n1:[fe80::1%eth0]:1", ("n1", "fe80::1%eth0", 1, None)),
        ("[::]", ("11211", "::", 11211, None)),
        ("n1:unix:/run/m.sock", ("n1", None, None, "/run/m.sock")),
        ("n1=unix:/run/m.sock", ("n1", None, None, "/run/m.sock")),
        ("unix:/run/m.sock", ("unix--run-m-sock", None, None, "/run/m.sock")),
        ("unix:/run/a:b=c", ("unix--run-a-b-c", None, None, "/run/a:b=c")),
        ("n1:unix:/run/a:b=c", ("n1", None, None, "/run/a:b=c")),
        ("unix:host:11212", ("unix", "host", 11212, None)),
        ("unix=host:11212", ("unix", "host", 11212, None)),
        ("unix:11212", ("unix-11212", "unix", 11212, None)),
        ("a" * 32 + ":host:1", ("a" * 32, "host", 1, None)),
    ],
)
def test_forms_of_a_node(text, expected):
    assert value_of("MSM_NODES", text) == (NodeAddress(*expected),)


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

    assert value_of("MSM_NODES", raw) == expected


@pytest.mark.parametrize("raw", [[], (), [""], ",", " , "], ids=repr)
def test_a_list_without_nodes_is_none(raw):
    assert value_of("MSM_NODES", raw) == ()


def test_a_path_in_a_list_may_hold_blanks_and_commas():
    (node,) = value_of("MSM_NODES", ["n1:unix:/var/my cache,1"])

    assert node.path == "/var/my cache,1"


@pytest.mark.parametrize(
    "raw",
    [
        "host:",
        "host:0",
        "host:65536",
        "host:-1",
        "host:x",
        "host:1.5",
        "host:\u0661",
        "n1:host",
        "n1:host:",
        "n1:host:0",
        "n1:host:port",
        "n1::11211",
        ":11211",
        "n1=",
        "=host:1",
        "n.1:host:1",
        "n.1=host:1",
        "n1:n2:host:1",
        "b" * 33 + ":host:1",
        "localhost 11211",
        "256.0.0.1",
        "10.0.0:1",
        "a..b",
        ".a",
        "a" * 64,
        "a.b/c",
        "user@host:1",
        "http://host:1",
        "b\u00f6rse:1",
        "::1",
        "2001:db8::1",
        "[::1",
        "[::1]x",
        "[::1]:",
        "[::1]:0",
        "[1.2.3.4]:1",
        "[:::]:1",
        "[fe80::1%a/b]",
        "[]",
        "unix:run/m.sock",
        "unix:",
        "unix:/" + "x" * 107,
        "/run/m.sock",
        ["n1:a:1,n2:b:2"],
        ["unix:/a\nb"],
        ["unix:/a\0b"],
        [("127.0.0.1", 11211)],
        [b"n1:a:1"],
        {"n1": "a:1"},
        11211,
        b"n1:a:1",
    ],
    ids=repr,
)
def test_text_that_is_not_a_node_is_refused(raw):
    assert "id:host:port, [id=]host[:port]" in str(assert_refused("MSM_NODES", raw))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("n1:a:1 n1:b:1", "'n1' is there twice"),
        ("n1:a:1 n2:a:1", "'a:1' is there twice"),
        ("n1:a:11211 a", "'a:11211' is there twice"),
        ("n1:HOST:1 n2:host:1", "'host:1' is there twice"),
        ("n1:[::1]:1 n2:[0::1]:1", "'[::1]:1' is there twice"),
        ("n1:unix:/a unix:/a", "'unix:/a' is there twice"),
        ("a.b:1 a-b:1", "'a-b-1' is there twice"),
    ],
    ids=repr,
)
def test_two_nodes_of_the_same_id_or_address_are_refused(raw, reason):
    assert reason in str(assert_refused("MSM_NODES", raw))


def test_a_long_address_makes_a_short_id_of_its_own():
    first, second = value_of(
        "MSM_NODES", "cache-1.rack-1.hall-1.example.com cache-1.rack-1.hall-1.example.org"
    )

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


@pytest.mark.parametrize(
    "arguments",
    [
        {"id": "", "host": "a", "port": 1},
        {"id": "a b", "host": "a", "port": 1},
        {"id": "n1"},
        {"id": "n1", "host": "a"},
        {"id": "n1", "port": 1},
        {"id": "n1", "host": "", "port": 1},
        {"id": "n1", "host": "a", "port": 0},
        {"id": "n1", "host": "a", "port": 65536},
        {"id": "n1", "path": "a"},
        {"id": "n1", "path": "/" + "a" * 107},
        {"id": "n1", "path": "/a", "host": "a"},
        {"id": "n1", "path": "/a", "port": 1},
    ],
)
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
        found = value_of("MSM_NODES", text)
    except ConfigError:
        return
    assert all(isinstance(node, NodeAddress) for node in found)


# Settings that depend on nodes


@pytest.mark.parametrize(
    ("config", "expected"), [({}, 2), ({"MSM_REPLICAS": 3}, 2), ({"MSM_REPLICAS": 1}, 1)]
)
def test_replicas_are_at_most_the_nodes(config, expected):
    assert read(MSM_NODES=TWO_NODES, **config).replicas == expected


def test_replicas_stay_as_they_are_without_nodes(caplog):
    assert read(MSM_REPLICAS=5).replicas == 5
    assert not caplog.records


def test_too_many_replicas_are_one_warning(caplog):
    read(MSM_NODES=TWO_NODES, MSM_REPLICAS=3)

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("flask_msm", logging.WARNING)
    assert "MSM_REPLICAS is 3, but the number of MSM_NODES is 2" in record.getMessage()


def test_possible_replicas_are_no_warning(caplog):
    read(MSM_NODES=TWO_NODES, MSM_REPLICAS=2)

    assert not caplog.records


@pytest.mark.parametrize("raw", ["n2", " n2 ", ["n2"], ("n2",)], ids=repr)
def test_failover_nodes_are_ids_of_nodes(raw):
    assert read(MSM_NODES=TWO_NODES, MSM_FAILOVER_NODES=raw).failover_nodes == ("n2",)


@pytest.mark.parametrize("raw", ["n1 n3", "n3,n1", ["n1", "n3"]], ids=repr)
def test_several_failover_nodes(raw):
    settings = read(MSM_NODES=TWO_NODES + " n3:c:1", MSM_FAILOVER_NODES=raw)

    assert set(settings.failover_nodes) == {"n1", "n3"}


def test_failover_nodes_may_be_named_by_derived_ids():
    assert read(MSM_NODES="a b", MSM_FAILOVER_NODES="b-11211").failover_nodes == ("b-11211",)


@pytest.mark.parametrize(
    "raw", ["n3", "n1 n2", "n1 n3", "n1 n1", "10.0.0.1:11211", 1, ["n1", 2]], ids=repr
)
def test_other_failover_nodes_are_refused(raw):
    error = refusal(MSM_NODES=TWO_NODES, MSM_FAILOVER_NODES=raw)

    assert error.key == "MSM_FAILOVER_NODES"
    assert "not all" in error.allowed


def test_failover_nodes_without_nodes_are_refused():
    assert "MSM_NODES is not set" in str(refusal(MSM_FAILOVER_NODES="n1"))


# Settings that depend on each other


@pytest.mark.parametrize("key", ["MSM_TIMEOUT", "MSM_CONNECT_TIMEOUT"])
def test_a_timeout_may_exceed_the_deadline(key):
    """The deadline bounds requests anyway, and probes have more time."""
    assert read(**{key: 5, "MSM_REQUEST_DEADLINE": 1}).request_deadline == 1.0


def test_the_default_backoff_follows_a_longer_interval():
    assert read(MSM_PROBE_INTERVAL=60).probe_max_backoff == 60.0
    assert read(MSM_PROBE_INTERVAL=5).probe_max_backoff == 10.0


def test_a_backoff_below_the_interval_is_refused():
    error = refusal(MSM_PROBE_INTERVAL=60, MSM_PROBE_MAX_BACKOFF="45")

    assert (error.key, error.value) == ("MSM_PROBE_MAX_BACKOFF", 45.0)
    assert "MSM_PROBE_INTERVAL (60.0 seconds)" in error.allowed
    assert read(MSM_PROBE_INTERVAL=60, MSM_PROBE_MAX_BACKOFF=60).probe_max_backoff == 60.0


def test_the_absolute_timeout_is_not_below_the_idle_timeout():
    error = refusal(MSM_IDLE_TIMEOUT=600, MSM_ABSOLUTE_TIMEOUT=300)

    assert (error.key, error.value) == ("MSM_ABSOLUTE_TIMEOUT", 300.0)
    assert "MSM_IDLE_TIMEOUT (600.0 seconds)" in error.allowed
    assert read(MSM_IDLE_TIMEOUT=600, MSM_ABSOLUTE_TIMEOUT=600).absolute_timeout == 600.0
    assert read(MSM_ABSOLUTE_TIMEOUT=300).idle_timeout is None


def test_local_storage_holds_one_session_at_least():
    error = refusal(MSM_LOCAL_MAX_BYTES=999_999)

    assert (error.key, error.value) == ("MSM_LOCAL_MAX_BYTES", 999_999)
    assert "MSM_MAX_RECORD_SIZE (1000000 bytes)" in error.allowed
    assert value_of("MSM_LOCAL_MAX_BYTES", "1_000_000") == 1_000_000
    assert read(MSM_LOCAL_MAX_BYTES=2048, MSM_MAX_RECORD_SIZE=2048).local_max_bytes == 2048


def test_compression_may_begin_above_the_largest_record():
    """What is too large for the cluster may fit when compressed."""
    assert value_of("MSM_COMPRESS_ABOVE", 2_000_000) == 2_000_000


# Texts and lists


@pytest.mark.parametrize(
    ("app_name", "prefix"),
    [
        ("shop", "msm:shop:"),
        ("my.shop", "msm:my.shop:"),
        ("my shop\u00e9\n", "msm:my-shop--:"),
        ("", "msm::"),
    ],
)
def test_the_default_prefix_is_made_from_the_name_of_the_app(app_name, prefix):
    assert Settings.from_mapping({}, app_name=app_name).key_prefix == prefix


@given(st.text(max_size=200))
def test_every_default_prefix_would_be_accepted(app_name):
    prefix = Settings.from_mapping({}, app_name=app_name).key_prefix

    assert Settings.from_mapping({"MSM_KEY_PREFIX": prefix}, app_name="x").key_prefix == prefix


def test_long_names_of_apps_have_prefixes_of_their_own():
    prefixes = {
        Settings.from_mapping({}, app_name="a" * 200 + end).key_prefix for end in ("", "b", "c")
    }

    assert len(prefixes) == 3
    assert {len(prefix) for prefix in prefixes} == {150}


@pytest.mark.parametrize(
    ("key", "raw", "expected"),
    [
        ("MSM_KEY_PREFIX", "a/b~!", "a/b~!"),
        ("MSM_KEY_PREFIX", " msm ", "msm"),
        ("MSM_KEY_PREFIX", "x" * 150, "x" * 150),
        ("MSM_ROUTE", "web-1_A", "web-1_A"),
        ("MSM_ROUTE", 7, "7"),
        ("MSM_ENVIRONMENT", "Staging, r\u00e9gion 2", "Staging, r\u00e9gion 2"),
        ("MSM_ADMIN_URL", "/ops/msm-admin", "/ops/msm-admin"),
        ("MSM_ADMIN_URL", "/a.b_c~d", "/a.b_c~d"),
    ],
    ids=repr,
)
def test_texts(key, raw, expected):
    assert value_of(key, raw) == expected


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        ("MSM_KEY_PREFIX", "a b"),
        ("MSM_KEY_PREFIX", "a\tb"),
        ("MSM_KEY_PREFIX", "a\x7f"),
        ("MSM_KEY_PREFIX", "caf\u00e9"),
        ("MSM_KEY_PREFIX", "x" * 151),
        ("MSM_KEY_PREFIX", b"msm:"),
        ("MSM_KEY_PREFIX", True),
        ("MSM_ROUTE", "web.1"),
        ("MSM_ROUTE", "a" * 33),
        ("MSM_ROUTE", ["web"]),
        ("MSM_ENVIRONMENT", "a\nb"),
        ("MSM_ENVIRONMENT", "a" * 65),
        ("MSM_ADMIN_URL", "/"),
        ("MSM_ADMIN_URL", "msm"),
        ("MSM_ADMIN_URL", "/msm/"),
        ("MSM_ADMIN_URL", "//host/msm"),
        ("MSM_ADMIN_URL", "/a/../b"),
        ("MSM_ADMIN_URL", "/<name>"),
        ("MSM_ADMIN_URL", "/a?b"),
        ("MSM_ADMIN_URL", "http://host/msm"),
    ],
    ids=repr,
)
def test_texts_that_are_refused(key, raw):
    assert_refused(key, raw)


@pytest.mark.parametrize(
    ("key", "word"),
    [
        *[("MSM_SERIALIZATION_POLICY", w) for w in ("raise", "local", "stop", "blacklist")],
        *[("MSM_ON_RECONNECT", w) for w in ("promote", "discard")],
        *[("MSM_ON_UNKNOWN", w) for w in ("detached", "error")],
        *[("MSM_LOCAL_CACHE", w) for w in ("filesystem", "simple")],
    ],
    ids=repr,
)
def test_choices_are_taken_in_any_case(key, word):
    assert value_of(key, word) == word
    assert value_of(key, f" {word.upper()} ") == word


@pytest.mark.parametrize(
    "key", ["MSM_SERIALIZATION_POLICY", "MSM_ON_RECONNECT", "MSM_ON_UNKNOWN", "MSM_LOCAL_CACHE"]
)
@pytest.mark.parametrize("raw", ["redis", "prom", True, 1, ["raise"], b"stop"], ids=repr)
def test_other_choices_are_refused(key, raw):
    assert_refused(key, raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("cart", ("cart",)),
        (" cart , last search,x ", ("cart", "last search", "x")),
        (["a,b", " c "], ("a,b", "c")),
        (("a",), ("a",)),
        ([], ()),
        (",", ()),
    ],
    ids=repr,
)
def test_the_blacklist_is_a_list_of_names(raw, expected):
    assert value_of("MSM_BLACKLIST", raw) == expected


@pytest.mark.parametrize("raw", [5, [5], {"a"}, {"a": 1}, "a,a", ["a", None], b"a"], ids=repr)
def test_other_blacklists_are_refused(raw):
    assert_refused("MSM_BLACKLIST", raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("https://ops.example.com", ("https://ops.example.com",)),
        ("http://a:8080, https://b_c", ("http://a:8080", "https://b_c")),
        (["https://[::1]:8443"], ("https://[::1]:8443",)),
    ],
    ids=repr,
)
def test_trusted_origins(raw, expected):
    assert value_of("MSM_ADMIN_TRUSTED_ORIGINS", raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "example.com",
        "https://a/",
        "https://a/b",
        "https://A",
        "ftp://a",
        "*",
        "https://*.a",
        "null",
    ],
    ids=repr,
)
def test_other_origins_are_refused(raw):
    assert_refused("MSM_ADMIN_TRUSTED_ORIGINS", raw)


# Objects


@pytest.mark.parametrize("key", ["MSM_ATTRIBUTE_FILTER", "MSM_IGNORE_PATTERN"])
def test_regular_expressions_are_compiled(key):
    compiled = re.compile("^/static", re.IGNORECASE)

    assert value_of(key, r"^/health|\.css$") == re.compile(r"^/health|\.css$")
    assert value_of(key, compiled) is compiled
    assert value_of(key, " x ") == re.compile(" x ")


@pytest.mark.parametrize("key", ["MSM_ATTRIBUTE_FILTER", "MSM_IGNORE_PATTERN"])
@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("(", "missing ), unterminated subpattern at position 0"),
        ("*a", "nothing to repeat at position 0"),
        ("a{99999999999999999999}", "too large"),
        (b"a", ""),
        (re.compile(b"a"), ""),
        (5, ""),
    ],
    ids=repr,
)
def test_a_wrong_regular_expression_is_refused_with_the_reason(key, raw, reason):
    assert reason in assert_refused(key, raw).allowed


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("ops:secret", ("ops", "secret")),
        (" ops:se:cret\n", ("ops", "se:cret")),
        (("ops", "se:cret"), ("ops", "se:cret")),
        (["ops", "secret"], ("ops", "secret")),
    ],
    ids=repr,
)
def test_credentials(raw, expected):
    assert value_of("MSM_AUTH", raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "swordfish",
        ":swordfish",
        "swordfish:",
        "ops:sword fish",
        "ops:sword\r\nfish",
        "o ps:swordfish",
        ("o:ps", "swordfish"),
        ("ops", ""),
        ("ops", "swordfish", "x"),
        ("ops", 5),
        {"swordfish": "x"},
        5,
    ],
    ids=repr,
)
def test_wrong_credentials_are_refused_and_not_shown(raw):
    error = assert_refused("MSM_AUTH", raw)

    assert "swordfish" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


ONE, TWO = bytes(range(32)), bytes(range(100, 132))
AS_HEX, AS_BASE64 = ONE.hex(), base64.urlsafe_b64encode(TWO).decode()


@pytest.mark.parametrize(
    ("raw", "encrypting", "decrypting"),
    [
        (AS_HEX, ONE, (ONE,)),
        (AS_HEX.upper(), ONE, (ONE,)),
        (f"{AS_BASE64}, {AS_HEX}", TWO, (TWO, ONE)),
        (AS_BASE64.rstrip("="), TWO, (TWO,)),
        ([AS_HEX, f"{AS_BASE64}\n"], ONE, (ONE, TWO)),
        (f"plain {AS_HEX}", None, (ONE,)),
        (base64.b64encode(b"\xff\xfe" * 16).decode(), b"\xff\xfe" * 16, (b"\xff\xfe" * 16,)),
    ],
)
def test_encryption_keys(raw, encrypting, decrypting):
    keys = value_of("MSM_ENCRYPTION_KEYS", raw)

    assert (keys.encrypting, keys.decrypting) == (encrypting, decrypting)
    assert AS_HEX not in repr(keys)
    assert str(ONE) not in repr(keys)


@pytest.mark.parametrize(
    "raw",
    [
        "swordfish",
        f"{AS_HEX} swordfish",
        ["sword fish"],
        [b"swordfish"],
        5,
        "plain",
        f"{AS_HEX} plain",
        f"{AS_HEX} {AS_HEX.upper()}",
        "0" * 64,
        AS_HEX[:-1],
        AS_BASE64[:-2],
        AS_BASE64 + "=",
    ],
    ids=repr,
)
def test_wrong_encryption_keys_are_refused_and_not_shown(raw):
    error = assert_refused("MSM_ENCRYPTION_KEYS", raw)

    assert "swordfish" not in str(error)
    assert AS_HEX[:-1] not in str(error)
    assert error.__cause__ is None


def test_secrets_are_not_in_the_repr():
    settings = read(MSM_AUTH="ops:swordfish", MSM_ENCRYPTION_KEYS=AS_HEX)

    assert settings.auth == ("ops", "swordfish")
    assert "swordfish" not in repr(settings)
    assert AS_HEX not in repr(settings)
    assert "encryption" not in repr(settings)
    assert "replicas=2" in repr(settings)


def test_a_tls_context_is_one():
    context = ssl.create_default_context()

    assert value_of("MSM_TLS_CONTEXT", context) is context
    assert "ssl.SSLContext" in str(assert_refused("MSM_TLS_CONTEXT", True))


def test_local_storage_may_be_a_cache_object():
    cache = Cache()

    assert value_of("MSM_LOCAL_CACHE", cache) is cache


@pytest.mark.parametrize("raw", [Cache, {}, object(), 5], ids=lambda raw: type(raw).__name__)
def test_an_object_that_is_not_a_cache_is_refused(raw):
    assert_refused("MSM_LOCAL_CACHE", raw)


def test_a_cache_class_is_refused_with_the_reason():
    assert "a class, not an object" in str(assert_refused("MSM_LOCAL_CACHE", Cache))


@pytest.mark.parametrize("raw", ["/var/lib/msm", Path("/var/lib/msm")], ids=repr)
def test_the_local_folder_is_an_absolute_path(raw):
    assert value_of("MSM_LOCAL_DIR", raw) == Path("/var/lib/msm")


@pytest.mark.parametrize("raw", ["msm", "~/msm", Path("msm"), b"/msm", 5], ids=repr)
def test_other_folders_are_refused(raw):
    assert_refused("MSM_LOCAL_DIR", raw)


def test_access_to_the_dashboard_is_a_callable():
    def access(request):
        return "read"

    assert value_of("MSM_ADMIN_ACCESS", access) is access


@pytest.mark.parametrize("raw", ["shop.admin:access", "shop.admin.access", "shop:access"], ids=repr)
def test_access_to_the_dashboard_may_be_an_import_path(raw):
    assert value_of("MSM_ADMIN_ACCESS", f" {raw} ") == raw


@pytest.mark.parametrize(
    "raw", ["access", "a:b:c", "shop.", ".shop", "shop access", "a/b.c", True, 5]
)
def test_other_access_is_refused(raw):
    assert_refused("MSM_ADMIN_ACCESS", raw)
