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
from hypothesis import given
from hypothesis import strategies as st

import flask_msm.settings.settings as settings_module
from flask_msm.errors import ConfigError
from flask_msm.settings.settings import Settings, setting_docs


#: What every key is when it is not set, and so of which kind it is.
DEFAULTS = {
    f"MSM_{f.name.upper()}": getattr(Settings.from_mapping({}, app_name="shop"), f.name)
    for f in fields(Settings)
}
SECRETS = {"MSM_AUTH", "MSM_ENCRYPTION_KEYS"}
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
    if key in SECRETS:
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


NOT_NUMBERS = [True, False, "true", -1, "-1", -0.5, float("nan"), "nan", float("inf"), "inf"]
NOT_NUMBERS += ["-Infinity", "1e999", "0x10", 1 + 1j, b"5", [5], timedelta(seconds=-1)]


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


NOT_TEXTS = {
    "MSM_KEY_PREFIX": ["a b", "a\tb", "a\x7f", "caf\u00e9", "x" * 151, b"msm:", True],
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
}


@pytest.mark.parametrize("key", NOT_TEXTS)
def test_texts_that_are_refused(key):
    for raw in NOT_TEXTS[key]:
        assert_refused(key, raw)


CHOICES = {
    "MSM_SERIALIZATION_POLICY": ("raise", "local", "stop", "blacklist"),
    "MSM_ON_RECONNECT": ("promote", "discard"),
    "MSM_ON_UNKNOWN": ("detached", "error"),
    "MSM_LOCAL_CACHE": ("filesystem", "simple"),
}


@pytest.mark.parametrize("key", CHOICES)
def test_choices_are_taken_in_any_case_and_no_others(key):
    for word in CHOICES[key]:
        assert value_of(key, word) == word
        assert value_of(key, f" {word.upper()} ") == word
    for raw in ("redis", "prom", True, 1, ["raise"], b"stop"):
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


NOT_ORIGINS = "example.com https://a/ https://a/b https://A ftp://a * https://*.a null"


@pytest.mark.parametrize("raw", NOT_ORIGINS.split())
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
