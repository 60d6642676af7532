"""Which memory answers under the id of a node.

A node is the memory that answers, not its name: names are numbered by templates, and addresses
move. So each node carries some random bytes that are stored once and never overwritten; when they
differ or are gone, it is another memory, or an empty one. They are no secret, not signed, and only
ever compared.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from flask_msm.errors import NodeValueError


if TYPE_CHECKING:
    from flask_msm.memcached.client import MemcachedNode
    from flask_msm.memcached.protocol import Item


KEY_SUFFIX = "fleet:identity"
_LENGTH = 32


class Identities:
    """Reads the identities of nodes, and gives one to a node that has none."""

    def __init__(self, key_prefix: str) -> None:
        self.key = f"{key_prefix}{KEY_SUFFIX}"

    def of(self, node: MemcachedNode, deadline: float) -> str | None:
        """Return what *node* shows; see ``shown``.

        Raises:
            NodeError: The node failed.
        """
        return self.shown(node, node.start_gets(self.key, deadline).result(), deadline)

    def shown(self, node: MemcachedNode, found: Item | None, deadline: float) -> str | None:
        """Return what every other worker reads on *node* as well, where *found* was just read.

        Returns:
            32 hexadecimal digits; ``None`` if the node takes none, or holds something else there.

        Raises:
            NodeError: The node failed.
        """
        if found is None:
            made = secrets.token_hex(_LENGTH // 2).encode()
            try:
                node.start_add(self.key, made, None, deadline).result()
            except NodeValueError:
                return None  # a full node
            # Another worker may have been quicker.
            found = node.start_gets(self.key, deadline).result()
        return _text(found)


def _text(shown: Item | None) -> str | None:
    if shown is None or len(shown.value) != _LENGTH:
        return None
    text = shown.value.decode("ascii", "replace")
    return text if not text.strip("0123456789abcdef") else None
