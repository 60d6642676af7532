"""What an operator is shown of one session."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What is known of one stored session: where and how, never what is in it.

    Attributes:
        ref: Its public name: the first ten hexadecimal digits of its storage key.
        handle: Names it for ``revoke``, and for nothing else; safe in a form.
        version: Its version, a stamp.
        home_nodes: Ids of the nodes that shall hold it, first one first.
        holders: Ids of the nodes that hold it now.
        behind: Ids of those among them whose copy is older.
        local: Whether local storage of this host has it.
        size: Size in bytes, as stored.
        created: When it began.
        renewed: When it was last written.
        expires_at: When it ends if it is not used before.
        permanent: Whether the browser keeps it.
        is_local: Whether parts of it exist in one process only.
        destroyed: Whether it was ended: what is stored is the mark of that.
        attributes: Names of its attributes and the types they are stored as; ``None`` for a type
            that is not known.
    """

    ref: str
    handle: str
    version: str | None = None
    home_nodes: tuple[str, ...] = ()
    holders: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    local: bool | None = None
    size: int | None = None
    created: float | None = None
    renewed: float | None = None
    expires_at: float | None = None
    permanent: bool | None = None
    is_local: bool | None = None
    destroyed: bool = False
    attributes: tuple[tuple[str, str | None], ...] = ()
