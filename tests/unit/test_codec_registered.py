"""Types and dataclasses that an application registers with the codec."""

import collections
import enum
import traceback
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from functools import cached_property

import pytest
from markupsafe import Markup
from support.codec_values import SECRET, Plain, assert_silent, loads, nested, numbered, refusal

from flask_msm.errors import ConfigError, DecodeError, EncodeError
from flask_msm.record.codec.msgpack import MsgpackCodec


class Level(enum.IntEnum):
    LOW = 1


class Money:
    def __init__(self, amount):
        self.amount = amount

    def __eq__(self, other):
        return type(other) is Money and other.amount == self.amount

    def __hash__(self):
        return hash(self.amount)


def with_money(encode=lambda money: money.amount, decode=Money):
    registered = MsgpackCodec()
    registered.register(Money, "money", encode, decode)
    return registered


def test_registered_type_comes_back():
    registered = with_money()
    value = {"a": [Money(1), (Money("x"), {Money((1, 2))})], "b": Money(Money(None))}

    assert registered.loads(registered.dumps(value)) == value
    assert registered.loads(registered.dumps(Money(5))) == Money(5)


def test_types_that_are_refused_can_be_registered():
    registered = MsgpackCodec()
    registered.register(Level, "level", lambda level: level.value, Level)
    registered.register(bytearray, "bytearray", bytes, bytearray)
    registered.register(
        collections.OrderedDict, "od", lambda d: list(d.items()), collections.OrderedDict
    )
    value = [Level.LOW, bytearray(b"x"), collections.OrderedDict(b=1, a=2)]
    back = registered.loads(registered.dumps(value))

    assert back == value
    assert list(map(type, back)) == list(map(type, value))


def test_registered_type_is_no_key_and_not_its_subclass():
    registered = with_money()

    assert "dict key" in refusal({Money(1): 1}, registered).reason
    assert refusal(type("Euro", (Money,), {})(1), registered).path == ""


def fail(error):
    raise error


def endless(value):
    return endless(value)


ENCODERS = [
    (lambda _: fail(KeyError(SECRET)), ".m", "Money", "raised KeyError"),
    (lambda _: fail(EncodeError("", "", SECRET)), ".m", "Money", "raised EncodeError"),
    (endless, ".m", "Money", "raised RecursionError"),
    (lambda _: Plain(), ".m(…)", "Plain", "not a type"),
    (lambda _: {"a": [Plain()]}, ".m(…).a[0]", "Plain", "not a type"),
    (lambda m: Money(Money(m)), ".m" + "(…)" * 199, "Money", "200 containers"),
    (lambda m: [m], ".m" + "(…)[0]" * 99 + "(…)", "list", "200 containers"),
]


@pytest.mark.parametrize(
    ("encode", "path", "type_name", "reason"), ENCODERS, ids=numbered(ENCODERS)
)
def test_encoder_that_misbehaves(encode, path, type_name, reason):
    error = refusal({"m": Money(1)}, with_money(encode))

    assert error.path == path
    assert error.type_name.rpartition(".")[2] == type_name
    assert reason in error.reason
    assert_silent(error)


DECODERS = [lambda _: fail(KeyError(SECRET)), endless, lambda _: fail(DecodeError("mine"))]


@pytest.mark.parametrize("decode", DECODERS, ids=numbered(DECODERS))
def test_decoder_that_misbehaves(decode):
    with pytest.raises(DecodeError) as caught:
        with_money(decode=decode).loads(with_money().dumps([Money(1)]))

    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_object_whose_type_is_not_registered_here_is_not_decoded():
    """It may come from a newer version of the application."""
    with pytest.raises(DecodeError, match="not registered"):
        loads(with_money().dumps([Money(1)]))


@pytest.mark.parametrize("container", [list, dict, set])
def test_value_that_changes_while_it_is_encoded_is_refused(container):
    """No torn copy is stored."""
    value = container()

    def grow(_):
        if container is list:
            value.append(Money(2))
        elif container is dict:
            value[len(value)] = 1
        else:
            value.add(len(value))

    if container is list:
        value.append(Money(1))
    elif container is dict:
        value["m"] = Money(1)
    else:
        value.add(Money(1))
    error = refusal([value], with_money(grow))

    assert error.path == "[0]"
    assert error.type_name == f"builtins.{container.__name__}"
    assert "changed" in error.reason
    assert_silent(error)


REGISTRATIONS = [
    (str, "x", "does not take"),
    (Markup, "x", "does not take"),
    (Money, "other", "does not take"),
    (Money(1), "x", "a class"),
    (Plain, "money", "not taken yet"),
    (Plain, "a\n", "printable"),
    (Plain, Markup("a"), "printable"),
    (Plain, 5, "printable"),
]


@pytest.mark.parametrize(("type_", "name", "allowed"), REGISTRATIONS, ids=numbered(REGISTRATIONS))
def test_registration_that_cannot_work(type_, name, allowed):
    with pytest.raises(ConfigError, match=allowed):
        with_money().register(type_, name, repr, repr)


@dataclass
class Item:
    name: str
    price: Decimal = Decimal(1)
    tags: list = field(default_factory=list)
    scale: InitVar[int] = 1
    total: Decimal = field(init=False, default=Decimal(0))

    def __post_init__(self, scale):
        self.total = self.price * scale

    @cached_property
    def upper(self):
        return self.name.upper()


@dataclass(frozen=True, slots=True)
class Place:
    x: float
    item: object = None


def with_dataclasses():
    registered = MsgpackCodec()
    assert registered.register_dataclass(Item) is Item
    registered.register_dataclass(Place, name="place")
    return registered


def test_dataclass_comes_back_without_running_init():
    registered = with_dataclasses()
    item = Item("a", Decimal(2), ["t"], scale=3)
    assert item.upper == "A"
    value = {"p": (Place(1.5, item), {Place(2.0)})}
    back = registered.loads(registered.dumps(value))

    assert back == value
    assert back["p"][0].item.total == Decimal(6)
    assert type(back["p"][0]) is Place


def test_dataclass_gives_the_path_of_its_fields():
    assert (
        refusal([Place(1.0, Item("a", tags=[Plain()]))], with_dataclasses()).path
        == "[0].item.tags[0]"
    )


def test_dataclass_that_holds_more_than_its_fields_is_refused():
    """What is not a field would be lost."""
    item = Item("a")
    item.extra = SECRET
    error = refusal({"i": item}, with_dataclasses())

    assert error.path == ".i.extra"
    assert "not a field" in error.reason


@dataclass(slots=True)
class Holey:
    x: int = field(init=False)


def test_dataclass_with_an_unset_field_is_refused():
    registered = MsgpackCodec()
    registered.register_dataclass(Holey)
    error = refusal(Holey(), registered)

    assert error.path == ".x"
    assert "without a value" in error.reason


def test_dataclasses_nest_too():
    registered = with_dataclasses()
    value = nested(100, lambda inner: Place(1.0, inner))

    assert registered.dumps(registered.loads(registered.dumps(value))) == registered.dumps(value)
    assert "200 containers" in refusal(nested(101, lambda v: Place(1.0, v)), registered).reason


def older_and_newer():
    def make(**fields):
        annotations = {"a": int, **dict.fromkeys(fields, int)}
        made = dataclass(type("Made", (), {"__annotations__": annotations, **fields}))
        registered = MsgpackCodec()
        registered.register_dataclass(made, name="made")
        return made, registered

    return make


def test_field_that_was_added_takes_its_default():
    """A deploy must not cost the sessions from before it."""
    make = older_and_newer()
    old, old_codec = make()
    _, new_codec = make(b=7, c=field(default_factory=list))
    back = new_codec.loads(old_codec.dumps(old(1)))

    assert (back.a, back.b, back.c) == (1, 7, [])


@pytest.mark.parametrize("added", [7, field()])
def test_field_that_cannot_be_made_up_or_placed(added):
    """Nothing is dropped: the bytes stay, and a process that knows the field reads them."""
    make = older_and_newer()
    old, old_codec = make()
    new, new_codec = make(b=added)

    with pytest.raises(DecodeError, match="not known here"):
        old_codec.loads(new_codec.dumps(new(1, 2)))
    if added != 7:
        with pytest.raises(DecodeError, match="no default"):
            new_codec.loads(old_codec.dumps(old(1)))


@dataclass
class AlsoDict(dict):
    x: int = 1


@dataclass
class AlsoError(Exception):
    x: int = 1


NO_DATACLASSES = [Plain, AlsoDict, AlsoError, Item("a"), 5, Item]


@pytest.mark.parametrize("cls", NO_DATACLASSES, ids=numbered(NO_DATACLASSES))
def test_dataclass_that_cannot_be_registered(cls):
    registered = MsgpackCodec()
    registered.register_dataclass(Item)

    with pytest.raises(ConfigError):
        registered.register_dataclass(cls)
