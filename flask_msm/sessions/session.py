"""The dictionary an application sees.

A ``Session`` is opened without any I/O and loaded at the first access. An attribute stays encoded
until it is asked for; the first look at all of them decodes the rest. Until then the storage holds
a placeholder key, because code written in C (``json``, ``dict.items``) reads a dictionary's storage
without calling any method: it fails or sees a strange key, instead of a part and nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

from flask_msm.record.codec.names import by_text, text_of


if TYPE_CHECKING:
    from collections.abc import ItemsView, KeysView, ValuesView

    from flask_msm.record.attributes import Entries

    from .unit_of_work import UnitOfWork


class _Placeholder:
    __slots__ = ()

    def __repr__(self) -> str:
        return "<session not decoded>"


PLACEHOLDER: Any = _Placeholder()
_MISSING: Any = object()
#: Where Flask's own session keeps the permanence, and so does this one.
PERMANENT = "_permanent"
#: Flask-Login's ``logout_user`` leaves this for the end of its request, where its cookie is removed
#: that would sign the user in again.
REMEMBER, FORGET = "_remember", "clear"


class Contents(NamedTuple):
    """What a session turns out to hold.

    Attributes:
        values: The attributes.
        detached: No store knew; *values* is empty for want of better knowledge.
        encoded: In place of *values*: the attributes, one at least, to be decoded when they are
            asked for. Those without a value were removed.
    """

    values: dict[str, Any]
    detached: bool
    encoded: Entries | None = None


class Session(dict[str, Any]):
    """A session with Flask's interface (``SessionMixin``), loaded at the first access.

    Changes are found by comparing what would be stored, so a change inside a value
    (``session["cart"].append(...)``) is saved without ``modified = True``.

    In templates ``session.name`` is an attribute of the object before it is one of the session.
    What this package alone needs begins with an underscore, so as to hide none of these.

    Attributes:
        accessed: Something looked at the session in this request; set by Flask.
    """

    __slots__ = (
        "__dict__",  # what libraries keep on it, as on Flask's own
        "__weakref__",
        "_assigned",
        "_backing",
        "_cleared",
        "_detached",
        "_handed_out",
        "_loaded",
        "_lock",
        "_marked",
        "_reader",
        "_saving",
        "_shown",
        "_told_absent",
        "_undecoded",
        "accessed",
    )

    def __init__(
        self, initial: Mapping[str, Any] | None = None, *, backing: UnitOfWork | None = None
    ) -> None:
        self.accessed = False
        #: Names the application set in this request, whether or not to what was there before.
        self._assigned: set[Any] = set()
        #: Names that were shown to the application as absent although no store knew.
        self._told_absent: set[str] = set()
        #: Names that were there whenever the application saw the whole of a detached session.
        self._shown: frozenset[str] = frozenset()
        #: What stands behind this session.
        self._backing = backing
        #: The application set something, or ``modified``.
        self._marked = False
        #: Nothing is compared for ``modified`` now: saving compares all values by itself.
        self._saving = False
        #: Names of attributes whose values the application got, so that it may change them.
        self._handed_out: set[Any] = set()
        #: ``clear()`` was called.
        self._cleared = False
        #: No store knew what the session holds.
        self._detached = False
        #: The attributes were read; they are decoded one by one.
        self._loaded = backing is None
        #: What was loaded, if not all of it was decoded: what is in the storage counts, and the
        #: rest is here.
        self._undecoded: Entries | None = None
        self._lock = threading.Lock()
        #: The thread that reads or decodes attributes now, and has the lock. What runs in it
        #: meanwhile may look at the session, a filter of the log for example: it sees what is
        #: known by then.
        self._reader = 0
        if backing is None:
            dict.update(self, initial or {})
        else:
            dict.__setitem__(self, PLACEHOLDER, None)

    # -- state ---------------------------------------------------------------------------------

    @property
    def sid(self) -> str | None:
        """The session id, ``None`` as long as nothing was stored. Never log it."""
        return self._backing.sid if self._backing else None

    @property
    def ref(self) -> str | None:
        """The public name of the session, safe in logs; ``None`` as long as nothing was stored."""
        return self._backing.ref if self._backing else None

    @property
    def new(self) -> bool:
        """Whether nothing was stored for this browser before this request."""
        self._load()
        # Not the id: regenerate() makes that before anything is stored.
        return self._backing is None or self._backing.request.token_permanent is None

    @property
    def is_local(self) -> bool:
        """Whether the session holds changes that only this process knows."""
        return self._backing is not None and self._backing.request.is_local

    @property
    def modified(self) -> bool:
        """Whether the session was changed, or a value that the application got from it.

        Such values are compared with what is stored each time this is asked; a value that cannot
        be stored counts as changed. Setting ``False`` suppresses the changes made so far: they are
        not stored.
        """
        if self._marked or self._saving or not self._handed_out:
            return self._marked
        return self._is_changed_inside()

    @modified.setter
    def modified(self, value: bool) -> None:
        if not value and self._backing is not None and self._loaded:
            self._backing.tracker.rebase(self)
            self._assigned.clear()
            # What was set until now may change from now on.
            self._handed_out.add(ALL)
        self._marked = bool(value)

    def _is_changed_inside(self) -> bool:
        backing, names = self._backing, self._handed_out
        if not self._loaded or backing is None:
            return False
        values = self._decoded()
        if ALL not in names:
            values = {name: value for name, value in values.items() if name in names}
        try:
            return backing.tracker.differs(values)
        except Exception:  # noqa: BLE001 - the save reports it
            return True

    @property
    def permanent(self) -> bool:
        """Whether the session outlives the browser."""
        if not self._loaded and self._backing is not None:
            return bool(self._backing.request.token_permanent)
        value = dict.get(self, PERMANENT, _MISSING)
        if value is _MISSING and PERMANENT in (self._undecoded or ()):
            value = self._decode(PERMANENT)
        return value is not _MISSING and bool(value)

    @permanent.setter
    def permanent(self, value: bool) -> None:
        if (
            not self._loaded
            and self._backing
            and self._backing.request.cookie_permanent == bool(value)
        ):
            # Nothing to store, and no need to read: the cookie is sent again, as Flask does.
            self._marked = True
            self._assigned.add(PERMANENT)
            return
        self[PERMANENT] = bool(value)

    def _peek(self) -> dict[str, Any]:
        """Return the attributes without loading them; empty as long as they are not loaded."""
        self._decode_all()
        return dict(dict.items(self)) if self._loaded else {}

    def _decoded(self) -> dict[str, Any]:
        """Return what was decoded or set; the other attributes are as they were loaded."""
        values = dict(dict.items(self))
        values.pop(PLACEHOLDER, None)
        return values

    def _keep_only(self, names: set[Any]) -> None:
        """Forget all attributes but those of *names*, because the others belong to another id."""
        self._decode_all()
        for name in dict.keys(self) - names:
            dict.__delitem__(self, name)

    # -- identity ------------------------------------------------------------------------------

    def save(self) -> None:
        """Store the changes now: the only way once a streamed response has begun.

        The id of a session that begins then reaches no browser.
        """
        if self._backing is not None and self._loaded:
            self._saving = True
            try:
                self._backing.save(self)
            finally:
                self._saving = False

    def reload(self) -> None:
        """Forget all changes and read the session again at the next access.

        A response that is streamed for hours may do so again and again: each time stores may take
        ``MSM_REQUEST_DEADLINE``.
        """
        if self._backing is None:
            return
        self._backing.request.begin_anew()
        with self._lock:
            dict.clear(self)
            dict.__setitem__(self, PLACEHOLDER, None)
            self._undecoded = None
            self._loaded = self._marked = self._cleared = self._detached = False
            self._assigned.clear()
            self._told_absent.clear()
            self._handed_out.clear()

    def regenerate(self) -> None:
        """Give the session another id, against session fixation; call it at a sign-in.

        ``sid`` and ``ref`` name the new session from now on; it is stored when the session is
        saved. Requests that are under way with the old id still find their way; the old id ends.
        When another request has moved the session already, this one gets a session of its own:
        with what it set, and with what it had read if that was before the move.

        Raises:
            RuntimeError: The response has begun, so that the browser would not learn of it.
        """
        self._load()
        self._decode_all()  # all of it goes along
        if self._backing is not None:
            self._backing.regenerate()
        self._marked = True

    def destroy(self) -> None:
        """End the session for good, on every node. What is set afterwards starts a new one."""
        self._load()
        forgets = dict.get(self, REMEMBER) == FORGET
        if self._backing is not None:
            self._backing.destroy()
        dict.clear(self)
        self._undecoded = None
        self._assigned.clear()
        self._marked = True
        self._detached = False
        self._told_absent.clear()
        if forgets:
            self[REMEMBER] = FORGET

    # -- loading -------------------------------------------------------------------------------

    def _load(self) -> None:
        """Read the attributes now, if they were not read yet."""
        if self._loaded or (self._reader and self._reader == threading.get_ident()):
            return
        with self._lock:
            if self._loaded or self._backing is None:
                return
            self._reader = threading.get_ident()
            try:
                # Set before, to what the cookie has; there may be nothing behind it.
                permanent = PERMANENT in self._assigned and self._backing.request.cookie_permanent
                contents = self._backing.load()
            finally:
                self._reader = 0
            self._undecoded = contents.encoded
            if contents.encoded is None:
                values = {**contents.values, **self._decoded()}
                dict.clear(self)
                dict.update(self, values)
            self._detached = contents.detached
            self._loaded = True
        if permanent and not self._detached and PERMANENT not in self:
            dict.update(self, {PERMANENT: True})

    def _decode(self, key: Any) -> Any:
        """Return the value of *key*, which is not in the storage; ``_MISSING`` without one."""
        if self._undecoded is None:
            return _MISSING
        if self._reader and self._reader == threading.get_ident():
            return _MISSING
        if type(key) is not str:
            self._decode_all()  # it may equal a name
            return dict.get(self, key, _MISSING)
        with self._lock:
            # Another thread may have decoded it meanwhile, or all.
            value = dict.get(self, key, _MISSING)
            entry = self._undecoded.get(key) if self._undecoded is not None else None
            if value is not _MISSING or entry is None or entry[1] is None or self._backing is None:
                return value
            tracker, encoded = self._backing.tracker, entry[1]
            self._reader = threading.get_ident()
            try:
                value = tracker.codec.loads(encoded)
            except Exception as error:  # noqa: BLE001  (a codec of the application may raise anything)
                tracker.note_undecodable(key, error)
                self._undecoded = {**self._undecoded, key: (entry[0], None)}
                return _MISSING
            finally:
                self._reader = 0
            tracker.encoded[key], tracker.originals[key] = encoded, value
            dict.__setitem__(self, key, value)
            return value

    def _decode_all(self) -> None:
        """Decode what was not decoded yet."""
        if self._undecoded is None or self._backing is None:
            return
        if self._reader and self._reader == threading.get_ident():
            return
        with self._lock:
            if self._undecoded is None:
                return
            self._reader = threading.get_ident()
            try:
                values = self._backing.tracker.decode_rest(self._undecoded, self._decoded())
            finally:
                self._reader = 0
            dict.clear(self)
            dict.update(self, values)
            self._undecoded = None

    def _absent(self, key: Any) -> None:
        if self._detached and (name := text_of(key)) is not None:
            self._told_absent.add(name)

    def _load_all(self) -> None:
        """Read and decode all attributes: the application is about to see the whole session."""
        self._load()
        self._decode_all()
        if self._detached:
            # What it had set before was there to be seen: only the others were shown as absent.
            names = frozenset(by_text(self._peek()))
            self._shown = self._shown & names if ALL in self._told_absent else names
            self._told_absent.add(ALL)

    # -- reading -------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        if not self._loaded:
            self._load()
        try:
            value = dict.__getitem__(self, key)
        except KeyError:
            value = self._decode(key)
            if value is _MISSING:
                self._absent(key)
                raise
        self._handed_out.add(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of *key*, or *default*."""
        if not self._loaded:
            self._load()
        value = dict.get(self, key, _MISSING)
        if value is _MISSING:
            value = self._decode(key)
        if value is _MISSING:
            self._absent(key)
            return default
        self._handed_out.add(key)
        return value

    def __contains__(self, key: object) -> bool:
        self._load()
        there = dict.__contains__(self, key) or self._decode(key) is not _MISSING
        if not there:
            self._absent(key)
        return there

    def __iter__(self) -> Iterator[str]:
        self._load_all()
        return dict.__iter__(self)

    def __reversed__(self) -> Iterator[str]:
        self._load_all()
        return dict.__reversed__(self)

    def __len__(self) -> int:
        self._load_all()
        return dict.__len__(self)

    def __bool__(self) -> bool:
        return len(self) > 0

    def __eq__(self, other: object) -> bool:
        self._load_all()
        if isinstance(other, Session):
            other._load()
            other._decode_all()
        return dict.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __or__(self, other: Any) -> dict[str, Any]:  # type: ignore[override]
        return self.copy() | other  # type: ignore[no-any-return]

    def __ror__(self, other: Any) -> dict[str, Any]:  # type: ignore[override]
        return other | self.copy()  # type: ignore[no-any-return]

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """Return a view of the names."""
        self._load_all()
        return dict.keys(self)

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """Return a view of the values."""
        self._load_all()
        self._handed_out.add(ALL)
        return dict.values(self)

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """Return a view of names and values."""
        self._load_all()
        self._handed_out.add(ALL)
        return dict.items(self)

    def copy(self) -> dict[str, Any]:
        """Return the attributes as a plain dictionary."""
        self._load_all()
        self._handed_out.add(ALL)
        return dict(dict.items(self))

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        from copy import deepcopy  # noqa: PLC0415  (rarely wanted)

        return deepcopy(self.copy(), memo)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # A plain dictionary: neither the session id nor a connection travels with a copy.
        return dict, (self.copy(),)

    def __repr__(self) -> str:
        if not self._loaded:
            return "<Session, not loaded>"
        self._decode_all()
        return f"<Session {dict.__repr__(self)}>"

    # -- changing ------------------------------------------------------------------------------

    def __setitem__(self, key: str, value: Any) -> None:
        if not self._loaded:
            self._load()
        dict.__setitem__(self, key, value)
        self._marked = True
        self._assigned.add(key)

    def __delitem__(self, key: str) -> None:
        if key in self:
            self._decode_all()
        dict.__delitem__(self, key)
        self._marked = True

    def pop(self, key: str, default: Any = _MISSING) -> Any:
        """Remove *key* and return its value, or *default*."""
        if key in self:
            self._decode_all()
            self._marked = True
            return dict.pop(self, key)
        if default is _MISSING:
            raise KeyError(key)
        return default

    def popitem(self) -> tuple[str, Any]:
        """Remove and return the newest item."""
        self._load_all()
        item = dict.popitem(self)
        self._marked = True
        return item

    def clear(self) -> None:
        """Remove everything; a session that is still empty when it is saved is ended."""
        self._load()
        self._decode_all()
        dict.clear(self)
        self._marked = self._cleared = True

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take over the items of a mapping, an iterable of pairs, or keyword arguments."""
        self._load()
        values: dict[Any, Any] = dict(*args, **kwargs)
        self._marked = True
        self._assigned.update(values)
        dict.update(self, values)

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Session:  # type: ignore[override, misc]
        self.update(other)
        return self

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Return the value of *key*; set it to *default* first if it is not there."""
        if key not in self:
            self[key] = default
        self._handed_out.add(key)
        return dict.setdefault(self, key, default)


#: In place of a name: the application saw the whole session empty, or got all values.
ALL = "\0all"
