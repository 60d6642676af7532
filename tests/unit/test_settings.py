"""Settings: what every key may be, what it becomes, and how a wrong one is refused."""

from __future__ import annotations

import base64
import logging
import re
import ssl
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_msm.errors import ConfigError
from flask_msm.settings.settings import Settings, setting_docs


#: What every key is when it is not set, and so of which kind it is.
DEFAULTS = {
    f"MSM_{f.name.upper()}": getattr(Settings.from_mapping({}, app_name="shop"), f.name)
    for f in fields(Settings)
}
SECRETS = {"MSM_ALERT_SECRET", "MSM_AUTH", "MSM_ENCRYPTION_KEYS", "MSM_ON_ALERT"}
BOOLEANS = [key for key, value in DEFAULTS.items() if isinstance(value, bool)]
WHOLE = [key for key, value in DEFAULTS.items() if type(value) is int] + ["MSM_LOCAL_MAX_BYTES"]
TIMEOUTS = ["MSM_IDLE_TIMEOUT", "MSM_ABSOLUTE_TIMEOUT"]
SECONDS = [key for key, value in DEFAULTS.items() if type(value) is float] + TIMEOUTS
EMPTY_IS_NONE = [key for key, value in DEFAULTS.items() if value in (None, ())]
#: One key of each kind, for values that the parser of the kind refuses.
A_NUMBER = ["MSM_REPLICAS", "MSM_TIMEOUT", "MSM_IDLE_TIMEOUT"]
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
    if key in SECRETS or isinstance(raw, dict):
        assert error.value == "***"
    else:
        assert error.value is raw
        assert repr(raw) in str(error)
    assert str(error).startswith(f"{key} is ")
    assert error.allowed in str(error)
    return error


# The table of settings


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


# Reading the mapping


def test_other_keys_are_not_looked_at_and_the_mapping_is_not_changed():
    config = {"SECRET_KEY": "x", "msm_replicas": 0, 5: 6, "MSMX": 1, "MSM_REPLICAS": "3"}

    settings = Settings.from_mapping(MappingProxyType(config), app_name="shop")

    assert settings.replicas == 3
    assert config["MSM_REPLICAS"] == "3"


@pytest.mark.parametrize("raw", [None, "", "  "], ids=repr)
def test_nothing_is_the_default(raw):
    for key, default in DEFAULTS.items():
        assert value_of(key, raw) == default


@pytest.mark.parametrize("word", ["none", "None", " NONE "])
def test_the_word_none_is_none_where_that_is_the_default_and_else_refused(word):
    for key, default in DEFAULTS.items():
        if key in EMPTY_IS_NONE:
            assert value_of(key, word) == default
        else:
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


@pytest.mark.parametrize("argument", ["codec", "scheduler", "clock", "policy"])
def test_an_argument_of_the_constructor_is_not_a_key(argument):
    error = refusal(**{f"MSM_{argument.upper()}": "x"})

    assert f"{argument} is an argument of MemcachedSessionManager" in str(error)


@pytest.mark.parametrize("key", ["MSM_AUHT", "MSM_REDIS_URL", "MSM_WEBHOOK", "MSM_NODE"])
def test_the_value_of_an_unknown_key_is_not_shown_for_it_may_be_a_secret(key):
    error = refusal(**{key: "redis://ops:swordfish@host"})

    assert error.value == "***"
    assert "swordfish" not in str(error)


# Booleans


@pytest.mark.parametrize("key", BOOLEANS)
def test_words_for_true_and_false_and_no_others(key):
    for raw in (True, 1, "true", "True", "YES", "on", "1", " On "):
        assert value_of(key, raw) is True
    for raw in (False, 0, "false", "FALSE", "No", "off", "0", " oFF "):
        assert value_of(key, raw) is False
    for raw in ("y", "t", "maybe", 2, -1, 1.0, [], b"true"):
        assert "true, yes, on, 1, false, no, off, 0" in str(assert_refused(key, raw))


# Numbers


@pytest.mark.parametrize("key", WHOLE)
def test_a_count_is_a_whole_number_and_may_be_text(key):
    factor = 1000 if key == "MSM_LOCAL_MAX_BYTES" else 1
    for raw in (4096, "4096", " 4096 ", 4096.0, "4096.0", "4.096e3"):
        value = value_of(key, raw if factor == 1 else float(raw) * factor)
        assert value == 4096 * factor
        assert type(value) is int
    for raw in (4096.5, "4096.5", timedelta(seconds=4096)):
        assert "whole number" in str(assert_refused(key, raw))
    assert_refused(key, "ten")


@pytest.mark.parametrize("key", SECONDS)
def test_seconds_may_be_text_or_a_timedelta(key):
    for raw in (45, 45.0, "45", "4.5e1", timedelta(seconds=45)):
        value = value_of(key, raw)
        assert value == 45.0
        assert type(value) is float
    assert_refused(key, "5 s")


NOT_NUMBERS = [True, "true", -1, "-1", -0.5, "nan", float("inf"), "-Infinity", "1e999", "0x10"]
NOT_NUMBERS += [1 + 1j, b"5", [5], timedelta(seconds=-1)]


@pytest.mark.parametrize("key", A_NUMBER)
@pytest.mark.parametrize("raw", NOT_NUMBERS, ids=repr)
def test_nothing_else_is_a_number(key, raw):
    assert_refused(key, raw)


def test_a_number_beyond_all_floats_is_refused():
    assert_refused("MSM_TIMEOUT", 10**400)
    assert_refused("MSM_MAX_RECORD_SIZE", "9" * 400)


LEAST = dict.fromkeys(WHOLE, 1) | {"MSM_RETRY_ATTEMPTS": 0, "MSM_COMPRESS_ABOVE": 0}
LEAST |= {"MSM_RECORD_CACHE_BYTES": 0}
LEAST |= {"MSM_MAX_RECORD_SIZE": 1024}
del LEAST["MSM_LOCAL_MAX_BYTES"]  # it depends on the largest record


@pytest.mark.parametrize(("key", "least"), LEAST.items())
def test_least_counts(key, least):
    assert value_of(key, least) == least
    assert f"at least {least}" in str(assert_refused(key, least - 1))


def test_largest_record():
    assert value_of("MSM_MAX_RECORD_SIZE", 128 * 1024**2) == 134_217_728
    assert "at most 134217728" in str(assert_refused("MSM_MAX_RECORD_SIZE", 128 * 1024**2 + 1))


#: The longest of each, in seconds: milliseconds given for seconds are noticed.
LONGEST = dict.fromkeys(("MSM_CONNECT_TIMEOUT", "MSM_TIMEOUT", "MSM_REQUEST_DEADLINE"), 60)
LONGEST |= {"MSM_RETRY_DELAY": 60, "MSM_PROBE_MAX_BACKOFF": 86_400, "MSM_PROBE_INTERVAL": 3600}
LONGEST |= {"MSM_REGENERATE_GRACE": 3600, "MSM_NEAR_MAX_AGE": 86_400}
LONGEST |= dict.fromkeys(TIMEOUTS, 315_360_000)
MAY_BE_ZERO = {"MSM_RETRY_DELAY", "MSM_PROBE_INTERVAL", "MSM_REGENERATE_GRACE", "MSM_NEAR_MAX_AGE"}


@pytest.mark.parametrize("key", SECONDS)
def test_durations_have_bounds(key):
    for raw in (0, "0", 0.0, -0.0, timedelta(0)):
        if key in MAY_BE_ZERO:
            assert value_of(key, raw) == 0.0
        else:
            assert "above 0" in str(assert_refused(key, raw))
    most = LONGEST[key]
    assert value_of(key, most) == most
    assert f"at most {most}" in str(assert_refused(key, most + 1))


@pytest.mark.parametrize(
    ("config", "interval"),
    [({}, 0.0), ({"MSM_PROBE_INTERVAL": ""}, 0.0), ({"MSM_PROBE_INTERVAL": "1.5"}, 1.5)],
)
def test_tests_have_no_probes_unless_they_ask_for_them(config, interval):
    assert read(testing=True, **config).probe_interval == interval


# Settings that depend on nodes


@pytest.mark.parametrize(
    ("config", "expected"), [({}, 2), ({"MSM_REPLICAS": 3}, 2), ({"MSM_REPLICAS": 1}, 1)]
)
def test_replicas_are_at_most_the_nodes(config, expected):
    assert read(MSM_NODES=TWO_NODES, **config).replicas == expected


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (TWO_NODES, "the number of MSM_NODES is 2: each session has 2 copies"),
        ("a", "the number of MSM_NODES is 1: each session has one copy"),
    ],
)
def test_too_many_replicas_are_one_warning_that_says_how_many_copies_there_are(caplog, nodes, said):
    read(MSM_NODES=nodes, MSM_REPLICAS=3)

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("flask_msm", logging.WARNING)
    assert record.getMessage() == f"MSM_REPLICAS is 3, but {said}"


THREE_NODES = f"{TWO_NODES} b"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [(" n2 ", ("n2",)), (["n2"], ("n2",)), ("b-11211,n1", ("b-11211", "n1"))],
    ids=repr,
)
def test_failover_nodes_are_ids_of_nodes(raw, expected):
    assert read(MSM_NODES=THREE_NODES, MSM_FAILOVER_NODES=raw).failover_nodes == expected


@pytest.mark.parametrize("raw", ["n3", "n1 n2", "n1 n1", "10.0.0.1:11211", ["n1", 2]], ids=repr)
def test_other_failover_nodes_are_refused(raw):
    error = refusal(MSM_NODES=TWO_NODES, MSM_FAILOVER_NODES=raw)

    assert error.key == "MSM_FAILOVER_NODES"
    assert "not all" in error.allowed
    assert "MSM_NODES is not set" in str(refusal(MSM_FAILOVER_NODES="n1"))


# Settings that depend on each other


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


CACHE, CONTEXT = Cache(), ssl.create_default_context()
IGNORE_CASE = re.compile("^/static", re.IGNORECASE)
#: What a key may be, and what it becomes.
VALUES = {
    "MSM_KEY_PREFIX": [("a/b~!", "a/b~!"), (" msm ", "msm"), ("x" * 150, "x" * 150)],
    "MSM_ROUTE": [("web-1_A", "web-1_A"), (7, "7")],
    "MSM_ENVIRONMENT": [("Staging, r\u00e9gion 2", "Staging, r\u00e9gion 2")],
    "MSM_ADMIN_URL": [("/ops/a.b_c~d-e", "/ops/a.b_c~d-e")],
    "MSM_BLACKLIST": [
        (" cart , last search,x ", ("cart", "last search", "x")),
        (["a,b", " c "], ("a,b", "c")),
        (",", ()),
    ],
    "MSM_ADMIN_TRUSTED_ORIGINS": [
        ("http://a:8080, https://b_c", ("http://a:8080", "https://b_c")),
        (["https://[::1]:8443"], ("https://[::1]:8443",)),
    ],
    "MSM_ATTRIBUTE_FILTER": [(" x ", re.compile(" x ")), (IGNORE_CASE, IGNORE_CASE)],
    "MSM_IGNORE_PATTERN": [(" x ", re.compile(" x ")), (IGNORE_CASE, IGNORE_CASE)],
    "MSM_AUTH": [(" ops:se:cret\n", ("ops", "se:cret")), (["ops", "secret"], ("ops", "secret"))],
    "MSM_TLS_CONTEXT": [(CONTEXT, CONTEXT)],
    "MSM_LOCAL_CACHE": [(CACHE, CACHE)],
    "MSM_LOCAL_DIR": [("/var/lib/msm", Path("/var/lib/msm")), (Path("/a"), Path("/a"))],
    "MSM_ADMIN_ACCESS": [
        (print, print),
        (" shop.admin:access ", "shop.admin:access"),
        ("a.b", "a.b"),
    ],
}


@pytest.mark.parametrize("key", VALUES)
def test_a_value_that_a_key_may_have_is_taken(key):
    for raw, expected in VALUES[key]:
        assert value_of(key, raw) == expected


PATTERNS = ["(", "*a", "a{99999999999999999999}", b"a", re.compile(b"a"), 5]
#: What a key may not be.
NOT_VALUES = {
    "MSM_KEY_PREFIX": ["a b", "a\x7f", "caf\u00e9", "x" * 151, b"msm:", True],
    "MSM_ROUTE": ["web.1", "a" * 33, ["web"]],
    "MSM_ENVIRONMENT": ["a\nb", "a" * 65],
    "MSM_ADMIN_URL": [
        "/",
        "msm",
        "/msm/",
        "//host/msm",
        "/a/../b",
        "/<name>",
        "/a?b",
        "http://h/m",
    ],
    "MSM_BLACKLIST": [5, [5], {"a"}, {"a": 1}, "a,a", ["a", None], b"a"],
    "MSM_ADMIN_TRUSTED_ORIGINS": [
        "a.com",
        "https://a/",
        "https://A",
        "ftp://a",
        "*",
        "https://*.a",
        "null",
    ],
    "MSM_ATTRIBUTE_FILTER": PATTERNS,
    "MSM_IGNORE_PATTERN": PATTERNS,
    "MSM_TLS_CONTEXT": [True],
    "MSM_LOCAL_CACHE": [Cache, {}, object(), 5],
    "MSM_LOCAL_DIR": ["msm", "~/msm", Path("msm"), b"/msm", 5],
    "MSM_ADMIN_ACCESS": ["access", "a:b:c", "shop.", ".shop", "shop access", "a/b.c", True, 5],
}


@pytest.mark.parametrize("key", NOT_VALUES)
def test_a_value_that_a_key_may_not_have_is_refused(key):
    for raw in NOT_VALUES[key]:
        assert_refused(key, raw)


@pytest.mark.parametrize(
    ("key", "raw", "reason"),
    [
        ("MSM_IGNORE_PATTERN", "(", "missing ), unterminated subpattern at position 0"),
        ("MSM_TLS_CONTEXT", True, "ssl.SSLContext"),
        ("MSM_LOCAL_CACHE", Cache, "a class, not an object"),
    ],
    ids=repr,
)
def test_a_refusal_has_the_reason(key, raw, reason):
    assert reason in str(assert_refused(key, raw))


CHOICES = {
    "MSM_SERIALIZATION_POLICY": ("raise", "local", "stop", "blacklist"),
    "MSM_ON_RECONNECT": ("promote", "discard"),
    "MSM_ON_UNKNOWN": ("detached", "error"),
    "MSM_LOCAL_CACHE": ("filesystem", "simple"),
}


@pytest.mark.parametrize("key", CHOICES)
def test_choices_are_taken_in_any_case_and_no_others(key):
    for word in CHOICES[key]:
        assert value_of(key, word) == value_of(key, f" {word.upper()} ") == word
    for raw in ("redis", "prom", True, 1, ["raise"], b"stop"):
        assert_refused(key, raw)


# Secrets


@pytest.mark.parametrize(
    "raw",
    [
        "swordfish",
        ":swordfish",
        "swordfish:",
        "ops:sword fish",
        "o ps:swordfish",
        ("o:ps", "swordfish"),
        ("ops", ""),
        ("ops", "swordfish", "x"),
        ("ops", 5),
        {"swordfish": "x"},
    ],
    ids=repr,
)
def test_wrong_credentials_are_refused_and_not_shown(raw):
    error = assert_refused("MSM_AUTH", raw)

    assert "swordfish" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        ("MSM_NODES", "ops:swordfish@10.0.0.1:11211"),
        ("MSM_NODES", "n1:10.0.0.1:11211 memcached://ops:swordfish@10.0.0.2"),
        ("MSM_NODES", "ops:swordfish,2@10.0.0.1:11211"),
        ("MSM_NODES", ["ops:swordfish@10.0.0.1:11211"]),
        ("MSM_NODES", b"ops:swordfish@10.0.0.1:11211"),
        ("MSM_NODES", {"n1": "ops:swordfish@10.0.0.1"}),
        ("MSM_FAILOVER_NODES", "ops:swordfish@10.0.0.1"),
        ("MSM_LOCAL_CACHE", "redis://:swordfish@10.0.0.1"),
        ("MSM_ADMIN_TRUSTED_ORIGINS", "https://ops:swordfish@10.0.0.1"),
        ("MSM_ADMIN_ACCESS", {"ops": "swordfish"}),
        ("MSM_ON_ALERT", "https://ops:swordfish@10.0.0.1"),
    ],
    ids=repr,
)
def test_a_password_in_a_setting_that_should_have_none_is_not_shown(key, raw):
    error = refusal(**{key: raw})

    assert (error.key, error.value) == (key, "***")
    assert "swordfish" not in str(error)
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
        f"{AS_HEX} swordfish",
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
