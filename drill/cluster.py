"""Some memcached processes, and a door in front of each for each site."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from .door import Address, Door, Way, socket_to
from .processes import HOST, bound, end, port_of, start
from .tls import make_certificate
from .waiting import DrillError, wait_until


#: Nodes that sites use unless an act changes that.
NODES = ("n1", "n2", "n3")
#: Options of memcached. It may take 64 MB: far more than the drill stores, for it must not evict.
OPTIONS = ("-m", "64")
#: Seconds a node may take to answer the drill itself.
_TIMEOUT = 5.0


class Node:
    """One memcached.

    Args:
        node_id: Its id.
        folder: Where its socket and its log are.
        options: Options of memcached.
        certificate: It speaks TLS, with this one; ``None``: it does not.

    Attributes:
        address: Where doors lead to: path of a socket, or host and port.
    """

    def __init__(
        self,
        node_id: str,
        folder: Path,
        options: Sequence[str] = OPTIONS,
        certificate: Path | None = None,
    ) -> None:
        self._name = node_id
        path = str(folder / f"{node_id}.sock")
        self.address: Address = path
        #: Where the drill itself asks: without TLS.
        self._plain: Address = path
        self._listens = ["-s", path]
        # Held as long as this lives, so that memcached finds its ports again.
        self._held = [bound(), bound()] if certificate else []
        if certificate:
            plain, port = map(port_of, self._held)
            self.address, self._plain = (HOST, port), (HOST, plain)
            self._listens = ["-l", f"notls:{HOST}:{plain},{HOST}:{port}", "--enable-ssl"]
            self._listens += ["-o", f"ssl_chain_cert={certificate},ssl_key={certificate}"]
        self._options = options
        self._log = folder / f"{node_id}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        binary = shutil.which("memcached")
        if binary is None:
            message = "memcached is not installed: `make drill` installs it as root, or prints how."
            raise DrillError(message)
        if isinstance(self._plain, str):
            Path(self._plain).unlink(missing_ok=True)
        # memcached refuses to run as root without ``-u``.
        user = ["-u", "root"] if os.geteuid() == 0 else []
        command = [binary, *self._listens, "-t", "1", *self._options, *user]
        self._process = start(command, self._log)
        wait_until(self._answers, f"{self._name} to start")

    def kill(self) -> None:
        """End it at once; what it held is gone."""
        if self._process is not None:
            end(self._process, signal.SIGKILL)

    def close(self) -> None:
        """End it for good."""
        self.kill()
        for each in self._held:
            each.close()

    def stop(self) -> None:
        """Stop it (SIGSTOP): it goes on accepting connections, and answers none."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on, with the data of before."""
        self._signal(signal.SIGCONT)

    def keys(self) -> list[bytes]:
        """Return the keys it holds."""
        lines = self._ask(b"lru_crawler metadump hash\r\n")
        names = (line.split()[0].removeprefix(b"key=") for line in lines if line[:4] == b"key=")
        return [name.replace(b"%3A", b":") for name in names]

    def spoil(self, keys: Iterable[bytes]) -> None:
        """Put garbage in the place of what it holds of *keys*."""
        for key in keys:
            self._ask(b"replace %b 0 0 7\r\ngarbage\r\n" % key)

    def flush(self) -> None:
        """Have it forget everything."""
        self._ask(b"flush_all\r\n")

    def evictions(self) -> int:
        """Return how many items it has thrown out to make room."""
        facts = (line.split() for line in self._ask(b"stats\r\n"))
        return sum(int(words[2]) for words in facts if words[1:2] == [b"evictions"])

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)

    def _answers(self) -> bool:
        try:
            return bool(self._ask(b"stats\r\n"))
        except OSError:
            return False

    def _ask(self, command: bytes) -> list[bytes]:
        """Return the lines of an answer, up to one that ends it."""
        lines: list[bytes] = []
        with socket_to(self._plain) as connection:
            connection.settimeout(_TIMEOUT)
            connection.connect(self._plain)
            with connection.makefile("rwb") as stream:
                stream.write(command)
                stream.flush()
                for line in stream:
                    if line.rstrip() in (b"END", b"STORED", b"NOT_STORED", b"OK"):
                        break
                    lines.append(line)
        return lines


class Cluster:
    """The nodes, and the doors through which sites reach them; a context manager.

    Args:
        folder: Where everything is kept.
        places: Names of those who reach the nodes, each through doors of its own.
        options: Options of each memcached.
        more: Nodes that are not used at first.
        tls: They speak TLS.

    Attributes:
        nodes: The nodes by id.
        used: Ids of the nodes that are used.
        certificate: What they show; ``None`` if they do not speak TLS.
    """

    def __init__(
        self,
        folder: Path,
        places: Iterable[str],
        options: Sequence[str] = OPTIONS,
        *,
        more: Sequence[str] = (),
        tls: bool = False,
    ) -> None:
        self.used: tuple[str, ...] = NODES
        self.certificate = folder / "nodes.pem" if tls else None
        if self.certificate:
            make_certificate(self.certificate)
        self.nodes = {
            node_id: Node(node_id, folder, options, self.certificate) for node_id in (*NODES, *more)
        }
        self._places = tuple(places)
        self._doors: dict[tuple[str, str], Door] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for node_id, node in self.nodes.items():
                started.callback(node.close)
                node.start()
                for place in self._places:
                    self._doors[place, node_id] = door = Door(node.address)
                    started.callback(door.close)
            self._stack = started.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def addresses(self, place: str) -> str:
        """Return ``MSM_NODES`` for a place."""
        return " ".join(f"{one}:{HOST}:{self._doors[place, one].port}" for one in self.used)

    def turn(self, way: Way, nodes: Sequence[str] = NODES, place: str | None = None) -> None:
        """Apply *way* to the traffic to some nodes, from one place or from all."""
        for (name, node_id), door in self._doors.items():
            if node_id in nodes and place in (None, name):
                door.turn(way)

    def kill(self, nodes: Sequence[str] = NODES) -> None:
        """Kill nodes; connections are refused from then on, as by any machine without them."""
        for node_id in nodes:
            self.nodes[node_id].kill()
        self.turn(Way.REFUSES, nodes)

    def restart(self, nodes: Sequence[str] = NODES) -> None:
        """Start nodes that were killed; they are empty."""
        for node_id in nodes:
            self.nodes[node_id].start()
        self.turn(Way.OPEN, nodes)

    def rename(self, order: Sequence[str]) -> None:
        """Give each memcached another id; ``lead`` and ``lead_all`` set who uses it from when on.

        Args:
            order: For each of the ids, in their order, the one that its memcached had so far.
        """
        self.nodes = {new: self.nodes[old] for new, old in zip(NODES, order, strict=True)}

    def lead(self, place: str) -> None:
        """Have each id lead to its memcached, for those in one place."""
        for (name, node_id), door in self._doors.items():
            if name == place:
                door.lead(self.nodes[node_id].address)
        self.turn(Way.OPEN, NODES, place)

    def lead_all(self) -> None:
        """Have each id lead to its memcached, for all places at once."""
        for place in self._places:
            self.lead(place)

    def stop(self, nodes: Sequence[str] = NODES) -> None:
        """Stop nodes (SIGSTOP)."""
        for node_id in nodes:
            self.nodes[node_id].stop()

    def go_on(self, nodes: Sequence[str] = NODES) -> None:
        """Let stopped nodes go on."""
        for node_id in nodes:
            self.nodes[node_id].go_on()

    def evictions(self) -> dict[str, int]:
        """Return by node how many items it has thrown out to make room."""
        return {node_id: node.evictions() for node_id, node in self.nodes.items()}

    def spoil(self) -> int:
        """Put garbage in the place of every record in every node; return how many."""
        found = {node: node.keys() for node in self.nodes.values()}
        for key in {key for keys in found.values() for key in keys}:
            # Both copies of a record right after each other, before one can mend the other.
            for node in found:
                with suppress(OSError):
                    node.spoil([key])
        return sum(map(len, found.values()))
