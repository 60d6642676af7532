"""Where the nodes are: the addresses that ``MSM_NODES`` names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise

from .types import BLANKS_OR_COMMAS, safe_name, split_list


#: Port of a node that names none.
DEFAULT_PORT = 11211

#: What an id of a node, or a route, is made of.
ID_PATTERN = "[A-Za-z0-9_-]{1,32}"

#: What ``MSM_NODES`` may be, in words.
NODES_ALLOWED = (
    "id:host:port, [id=]host[:port], [id:][v6]:port or [id:]unix:/path (ids of at most 32"
    " letters, digits, _ and -), separated by blanks or commas, or a list of these"
)

_UNIX = "unix:"
#: Longest path of a unix socket in bytes (Linux, without the final zero byte).
_LONGEST_PATH = 107
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_BRACKETED = re.compile(r"\[(?P<host>[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?)\](:(?P<port>.*))?")


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """One memcached node: its name, and either host and port or the path of a unix socket.

    Attributes:
        id: Name of the node; it alone decides where sessions go.
        host: Name, IPv4 or IPv6 address (without brackets); ``None`` for a unix socket.
        port: TCP port from 1 to 65535; ``None`` for a unix socket.
        path: Absolute path of a unix socket; ``None`` for a host.

    Raises:
        ValueError: The id, port or path is not possible, or there is not exactly one address.
    """

    id: str
    host: str | None = None
    port: int | None = None
    path: str | None = None

    def __post_init__(self) -> None:
        _require(re.fullmatch(ID_PATTERN, self.id), f"{self.id!r} is no id of a node")
        if self.path is None:
            _require(self.host, "a host is missing")
            _require(self.port in range(1, 65536), f"port {self.port} is not within 1 and 65535")
            return
        _require(self.host is None and self.port is None, "a unix socket has no host and port")
        _require(self.path.startswith("/"), f"{self.path!r} is not absolute")
        size = len(self.path.encode(errors="surrogateescape"))
        _require(size <= _LONGEST_PATH, f"{self.path!r} exceeds {_LONGEST_PATH} bytes")

    @property
    def display(self) -> str:
        """The address without the id: ``host:port``, ``[v6]:port`` or ``unix:/path``."""
        if self.path is not None:
            return _UNIX + self.path
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_nodes(value: object) -> tuple[NodeAddress, ...]:
    """Return the nodes that *value*, a text or a list of texts, names, in its order.

    Raises:
        ValueError: One is not an address, or two have the same id or the same address.
    """
    if isinstance(value, str):
        _refuse_torn(value)
    nodes = tuple(parse_node(item) for item in split_list(value, BLANKS_OR_COMMAS))
    _refuse_repeated(node.display for node in nodes)
    _refuse_repeated(node.id for node in nodes)
    return nodes


def parse_node(item: str) -> NodeAddress:
    """Return the node that *item* names.

    A node without an id is called after its address, not numbered: the ranking goes by id, and
    must not depend on the order in which nodes are written down.

    Raises:
        ValueError: *item* is not an address.
    """
    node_id, address = _split_id(item)
    host, port, path = _split_address(address)
    node = NodeAddress("unnamed" if node_id is None else node_id, host, port, path)
    return node if node_id is not None else _named_after_address(node)


def _split_id(item: str) -> tuple[str | None, str]:
    before, equals, rest = item.partition("=")
    if equals and ":" not in before and "/" not in before:
        return before, rest
    before, _, rest = item.partition(":")
    three_parts = rest.startswith(("[", _UNIX)) or rest.count(":") == 1
    if item.startswith(("[", _UNIX + "/")) or not three_parts:
        return None, item
    return before, rest


def _split_address(address: str) -> tuple[str | None, int | None, str | None]:
    if address.startswith(_UNIX + "/"):
        _require(address.isprintable(), f"{address!r} holds control characters")
        return None, None, address.removeprefix(_UNIX)
    if bracketed := _BRACKETED.fullmatch(address):
        return str(IPv6Address(bracketed["host"])), _port(bracketed["port"]), None
    host, colon, port = address.lower().partition(":")
    _require(_HOST.fullmatch(host) and ":" not in port, f"{address!r} is not an address")
    # Digits and dots alone are never looked up as a name: raise here, not at the first request.
    if host.replace(".", "").isdigit():
        IPv4Address(host)
    return host, _port(port if colon else None), None


def _port(digits: str | None) -> int:
    if digits is None:
        return DEFAULT_PORT
    _require(re.fullmatch("[0-9]{1,5}", digits), f"{digits!r} is not a port")
    return int(digits)


def _named_after_address(node: NodeAddress) -> NodeAddress:
    # A leading dash would be taken for an option on the command line.
    name = safe_name(node.display, "[^A-Za-z0-9_-]", 32).lstrip("-")
    return replace(node, id=name)


def _refuse_torn(text: str) -> None:
    # The first half of an id with a blank in it would be a host of its own.
    for part in text.split(","):
        for word, item in pairwise(part.split()):
            is_torn = re.fullmatch(ID_PATTERN, word) and _split_id(item)[0] is not None
            message = f"'{word} {item}' is no node; if {word!r} is one, put a comma after it"
            _require(not is_torn, message)


def _refuse_repeated(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        _require(name not in seen, f"{name!r} is there twice")
        seen.add(name)


def _require(condition: object, message: str) -> None:
    if not condition:
        raise ValueError(message)
