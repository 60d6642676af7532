"""What one worker does at once when something changed, also outside of ticks.

Requests report here how nodes answered, ticks and commands what they found; what follows is
recorded, and brought to the fleet behind.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from flask_msm.cluster.control import DISTRIBUTION, STOPPED
from flask_msm.cluster.health import NodeState, Observation
from flask_msm.cluster.mode import Mode, ModeChange
from flask_msm.process.locks import ProcessLock


if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from flask_msm.cluster.control import Control
    from flask_msm.cluster.nodes import Transition
    from flask_msm.cluster.shared_map import SharedMap
    from flask_msm.errors import NodeError
    from flask_msm.process.background import Background

    from .membership import Change, Membership
    from .retries import RetryQueue


#: Of which trouble of a node the log tells when it is over.
_TROUBLES = {NodeState.SUSPECT: "down", NodeState.DOWN: "down"}


@dataclass(eq=False)
class Reactions:
    """Records what changed, and reports to the fleet what a node misses.

    Args:
        retries: Single writes that did not reach a node.
        obey: Takes over what operators chose.
    """

    membership: Membership
    _: KW_ONLY
    retries: RetryQueue
    bulk: Background
    obey: Callable[[], object]

    def __post_init__(self) -> None:
        self._table = self.membership.table
        #: Held while a command is judged and made: two threads must not both find it right.
        self._acting = ProcessLock()

    # -- what requests report ------------------------------------------------------------------

    def answered(self, node_id: str) -> None:
        """Take note that an operation succeeded; free as long as the node is not in doubt."""
        if node_id in self._table.doubted:
            self.follow(self._table.observe(node_id, Observation.SUCCESS))

    def failed(self, node_id: str, error: NodeError) -> None:
        """Take note that an operation failed."""
        self.follow(self.membership.failed(node_id, error))

    def left_out(self, node_id: str, key: str) -> None:
        """Take note that a write went past the node, which is home to *key*."""
        health = self._table.view()[node_id].health
        if health.state is NodeState.DOWN or node_id in self.membership.control.drains():
            return  # it is missed as a whole
        if not self.retries.add(node_id, key):
            self.give_up([node_id])

    def remembers(self, node_ids: Iterable[str], deadline: float) -> bool:
        """Return whether "not there" counts: see ``Membership.remembers``."""
        memory = self.membership.remembers(node_ids, deadline)
        self.follow(memory.changes)
        if memory.is_news:
            self.bulk.put(self.publish)
        return memory.counts

    def stop_distribution(self, why: str) -> None:
        """Stop distribution for the fleet: here at once, elsewhere as soon as it is read there.

        Nodes are written first: before another worker reports a session as missing, it reads from
        them whether distribution goes on.
        """
        if self.membership.control.choice(DISTRIBUTION).value != STOPPED:
            self.membership.control.choose(
                DISTRIBUTION, STOPPED, who="policy 'stop'", why=why[:200]
            )
            self.publish()

    # -- what follows --------------------------------------------------------------------------

    def follow(self, changes: Sequence[Change]) -> None:
        """Record changes, and let the fleet learn of nodes that are down."""
        if not changes:
            return
        down = False
        for change in changes:
            if isinstance(change, ModeChange):
                self._mode_changed(change)
                continue
            self._node_changed(change)
            if change.went_down:
                down = True
                self.retries.drop(change.node_id)
        self.follow(self.membership.apply())
        if down:
            self.bulk.put(self.publish)

    def give_up(self, node_ids: Collection[str]) -> None:
        """Record that single repairs did not help nodes: they are rebuilt whole."""
        if self._miss(node_ids):
            self.bulk.put(self.publish)

    def leave(self) -> None:
        """Leave to the fleet what this worker alone knows to be missing."""
        if self._miss(self.retries.nodes()):
            self.publish()

    def _miss(self, node_ids: Collection[str]) -> bool:
        for node_id in node_ids:
            self.membership.control.set_missed(node_id, "writes did not arrive")
            self.retries.drop(node_id)
        self.follow(self.membership.apply() if node_ids else [])
        return bool(node_ids)

    def publish(self, _: float = 0.0) -> None:
        """Bring the control state to all nodes that answer, without waiting for the next tick."""
        changes = self.membership.exchange()
        self.membership.host.write()
        self._learn(changes)

    def look(self, within: float | None = None) -> None:
        """Learn what the fleet knows and change nothing there; see ``Membership.look``."""
        self._learn(self.membership.look(within))

    def command(
        self, act: Callable[[Control], object], *, also: SharedMap | None = None
    ) -> list[str]:
        """Change what holds for the fleet; return the nodes that know it now.

        All nodes are read before *act* judges, however lately this worker has ticked; with *also*,
        a map that it needs beside the control state. What it raises comes out, and nothing was
        changed. Two workers that both read before either writes both change it: the later stamp
        holds.
        """
        # What the fleet knows comes first, so that the change is the newest entry.
        gathered, changes = self.membership.gather(self._table.node_ids, also)
        try:
            with self._acting:
                act(self.membership.control)
            reached, lost = self.membership.spread(gathered)
            changes += lost
            self.membership.host.write()
        finally:
            self._learn(changes)
        return reached

    def _learn(self, changes: list[Change]) -> None:
        self.follow([*changes, *self.membership.apply()])
        self.obey()

    def _mode_changed(self, change: ModeChange) -> None:
        before, after = change
        texts = {
            Mode.DISTRIBUTED: "sessions are kept in the cluster",
            Mode.LOCAL: "no node can be reached: sessions are kept on this host",
            Mode.STOPPED: "distribution is stopped: sessions are kept on this host",
        }
        level = "info" if after is Mode.DISTRIBUTED else "warning"
        if before is Mode.STOPPED and after is Mode.LOCAL:
            # It is not known yet whether nodes answer: the next probe shows it.
            level = "info"
            texts[after] = "distribution goes on once a node answers: until then on this host"
        text = f"{texts[after]} (mode {after.value}, was {before.value})"
        back = after is Mode.DISTRIBUTED
        self.membership.events.add(
            level,
            f"mode_{after.value}",
            text,
            begins=None if back else "mode",
            ends="mode" if back else None,
        )

    def _node_changed(self, change: Transition) -> None:
        node_id, before, after = change
        if after.state is not before.state:
            level = "warning" if after.state in (NodeState.DOWN, NodeState.SUSPECT) else "info"
            reason = f" ({after.health.error})" if level == "warning" else ""
            text = f"{node_id} is {after.state.value}, was {before.state.value}{reason}"
            self.membership.events.add(
                level,
                f"node_{after.state.value}",
                text,
                node=node_id,
                begins=_TROUBLES.get(after.state),
                ends="down" if after.state is NodeState.UP else None,
            )
        if after.trusted != before.trusted:
            text = f"{node_id} {'has all its sessions' if after.trusted else 'may lack sessions'}"
            begins, ends = (None, "trust") if after.trusted else ("trust", None)
            self.membership.events.add(
                "info", "node_trust", text, node=node_id, begins=begins, ends=ends
            )
