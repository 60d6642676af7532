"""Signals an application can subscribe to. The sender is the app; a session id is never sent.

What a worker finds out of nodes, its mode and the policy is sent without a request, also while one
is answered; the other signals are sent in the request that causes them, if there is one.
"""

from __future__ import annotations

from blinker import Namespace


_signals = Namespace()

session_created = _signals.signal("msm-session-created")
"""A session was stored for the first time: ``ref``, its public name."""
session_destroyed = _signals.signal("msm-session-destroyed")
"""A session was ended: ``ref``."""
session_relocated = _signals.signal("msm-session-relocated")
"""A copy of a session went to a node that is not its home, for one failed: ``ref``."""
mode_changed = _signals.signal("msm-mode-changed")
"""This worker keeps sessions elsewhere from now on: ``mode`` and ``text``."""
node_changed = _signals.signal("msm-node-changed")
"""The state of a node changed, as this worker sees it: ``node``, ``kind``, ``text``."""
attribute_blacklisted = _signals.signal("msm-attribute-blacklisted")
"""``None`` is stored for an attribute from now on: ``attribute``, ``type`` and ``path``."""
policy_changed = _signals.signal("msm-policy-changed")
"""This worker obeys another policy than before: ``policy`` and ``text``."""

#: By the name that a repository passes.
SESSION_SIGNALS = {
    "created": session_created,
    "destroyed": session_destroyed,
    "relocated": session_relocated,
}
