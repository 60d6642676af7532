"""Signals an application can subscribe to. The sender is the app; a session id is never sent.

``session_created``, ``session_destroyed`` and ``session_relocated`` carry ``ref``, the public name
of the session; ``attribute_blacklisted`` carries ``attribute``, ``type`` and ``path`` when an
attribute is first stored as ``None`` because it cannot be stored. ``policy_changed`` carries
``policy`` and ``text`` when this worker obeys another one than before.
"""

from __future__ import annotations

from blinker import Namespace


_signals = Namespace()

session_created = _signals.signal("msm-session-created")
session_destroyed = _signals.signal("msm-session-destroyed")
session_relocated = _signals.signal("msm-session-relocated")
mode_changed = _signals.signal("msm-mode-changed")
node_changed = _signals.signal("msm-node-changed")
attribute_blacklisted = _signals.signal("msm-attribute-blacklisted")
policy_changed = _signals.signal("msm-policy-changed")

#: By what a repository says.
SESSION_SIGNALS = {
    "created": session_created,
    "destroyed": session_destroyed,
    "relocated": session_relocated,
}
