"""A node in memory answers as a memcached does."""

from __future__ import annotations

import re
import socket
from itertools import takewhile

import pytest

from flask_msm.testing import Nodes


LARGEST = 1024 * 1024 - 512

CONVERSATIONS = {
    "what is not there": [
        b"get a",
        b"gets a b",
        b"touch a 9",
        b"delete a",
        b"replace a 0 9 1\r\nx",
    ],
    "add, and add again": [b"add a 7 9 3\r\nabc", b"add a 0 9 3\r\nxyz", b"gets a", b"get a b a"],
    "cas": [
        b"add a 0 9 1\r\nx",
        b"cas a 0 9 1 1\r\ny",
        b"cas a 0 9 1 1\r\nz",
        b"gets a",
        b"cas b 0 9 1 1\r\nz",
    ],
    "set, replace, delete": [b"set a 0 0 0\r\n", b"replace a 0 0 1\r\nx", b"delete a", b"get a"],
    "expired at once": [b"set a 0 -1 1\r\nx", b"get a", b"add a 0 1000000000 1\r\nx", b"get a"],
    "touched": [b"add a 0 0 1\r\nx", b"touch a 9", b"get a", b"touch a -1", b"get a"],
    "flushed": [b"add a 0 0 1\r\nx", b"flush_all", b"get a"],
    "listed": [b"add a 0 0 1\r\nx", b"lru_crawler metadump hash"],
    "nothing to list": [b"lru_crawler metadump hash"],
    "odd keys": [b"add a:1/%C3 0 0 1\r\nx", b"lru_crawler metadump hash"],
    "no command": [b"", b"nonsense", b"get", b"cas a 0 9 1", b"set a", b"touch a"],
    "several at once": [b"add a 0 9 1\r\nx\r\nget a\r\ntouch a 5"],
    "no answer wanted": [b"set a 0 9 1 noreply\r\nx\r\nget a"],
    "a value with line ends": [b"add a 0 9 6\r\n\r\nEND\r", b"get a"],
    "the largest value": [b"add a 0 9 %d\r\n%b" % (LARGEST, b"x" * LARGEST), b"touch a 5"],
    "too large": [
        b"set a 0 9 1\r\nx",
        b"cas a 0 9 %d 1\r\n%b" % (2 * LARGEST, b"x" * 2 * LARGEST),
        b"get a",
        b"set a 0 9 %d\r\n%b" % (2 * LARGEST, b"x" * 2 * LARGEST),
        b"get a",
    ],
}


def talk(node, commands):
    """Return what *node* answers to each of *commands*."""
    answers = []
    with socket.create_connection((node.host, node.port), timeout=120) as connection:
        for command in commands:
            answer = b"BUSY"
            # memcached looks through its keys by itself as well.
            while answer.startswith(b"BUSY"):
                answer = ask(connection, command)
            answers.append(plain(answer))
    return answers


def ask(connection, command):
    """Return all that is answered to *command*."""
    connection.sendall(command + b"\r\n")
    received = b""
    while not complete(command, received):
        received += connection.recv(65536)
    return received


def complete(command, received):
    """Return whether *received* is the answer to all lines of *command*."""
    wanted = max(1, len(re.findall(rb"(?m)^(?:add|get|touch|replace|set|cas|delete) ", command)))
    if b"noreply" in command:
        wanted -= 1
    ends = re.findall(rb"(?m)^(?:END|[A-Z_]+(?: [a-z ]+)?)\r\n", received)
    return len(ends) >= wanted


def plain(answer):
    """Leave out what is another number in every process."""
    answer = re.sub(rb"exp=(-1|\d+) .*", rb"exp", answer)
    return re.sub(rb"(SERVER|CLIENT)_ERROR .*", rb"\1_ERROR", answer)


@pytest.fixture(scope="module")
def nodes():
    with Nodes(1, real=True) as real, Nodes(1) as memory:
        yield real["n1"], memory["n1"]


@pytest.mark.memcached
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_node_in_memory_answers_as_memcached_does(nodes, name):
    for node in nodes:
        node.restart()
    real, memory = nodes

    assert talk(memory, CONVERSATIONS[name]) == talk(real, CONVERSATIONS[name])


@pytest.mark.memcached
def test_a_node_in_memory_gives_the_statistics_that_are_read_of_memcached(nodes):
    def names(answer):
        return set(re.findall(r"STAT (\S+)", answer))

    found = []
    for node in nodes:
        with socket.create_connection((node.host, node.port), timeout=120) as connection:
            connection.sendall(b"stats\r\n")
            with connection.makefile("rb") as stream:
                found.append(names(b"".join(takewhile(b"END\r\n".__ne__, stream)).decode()))
    real, memory = found

    assert memory <= real
    assert {"pid", "uptime", "curr_items", "bytes", "limit_maxbytes", "evictions"} <= memory
