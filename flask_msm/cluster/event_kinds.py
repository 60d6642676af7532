"""What an event is; every kind, and what it means: the documentation has its table from here."""

from __future__ import annotations

from typing import NamedTuple


class Event(NamedTuple):
    """Something that changed.

    Attributes:
        id: Rises by one for each event of this process.
        at: When, seconds since the epoch.
        before: What held until then, if something was changed.
        after: What holds since then.
    """

    id: int
    at: float
    level: str
    kind: str
    text: str
    node: str | None = None
    actor: str | None = None
    reason: str | None = None
    before: str | None = None
    after: str | None = None
    result: str | None = None


_NODES = {
    "node_up": "A worker uses the node again.",
    "node_suspect": "The node did not answer in time; a worker reads it together with others.",
    "node_down": "The node is not asked any more by this worker, with the reason.",
    "node_recovering": "The node answers probes again; it needs another good one.",
    "node_draining": "An operator takes the node out of use; its sessions are copied away.",
    "node_drained": "The node is out of use; or, by an operator, was ordered out of use.",
    "node_restored": "An operator put a drained node back into use.",
    "node_trust": "The node has all sessions again and is read alone, or it lacks some.",
    "node_lost_memory": "The node came back empty, or another memcached answers in its place.",
    "layouts_differ": "Workers have different MSM_NODES or MSM_REPLICAS; every session is read from"
    " several nodes until they agree.",
    "fleet_record_refused": "A node holds a shared record that is damaged, forged or signed with"
    " another SECRET_KEY.",
    "foreign_maps_replaced": "The records of a fleet that does not live any more were replaced.",
}
_REBUILDS = {
    f"{what}_{step}": f"{subject} {meaning}."
    for what, subject in (
        ("rebuild", "Copying sessions to a node that lacks some"),
        ("drain", "Copying sessions away from a node that is drained"),
    )
    for step, meaning in (
        ("began", "began"),
        ("shared", "is done as far as this worker shared in it"),
        ("finished", "is done, with the number of sessions and the time it took"),
        ("failed", "was broken off, with the reason; it begins anew"),
    )
}
_OUTAGES = {
    "mode_distributed": "Sessions go to the nodes.",
    "mode_local": "No node answers: sessions stay on their hosts.",
    "mode_stopped": "Distribution is stopped: sessions stay on their hosts.",
    "handed_over": "What a host kept during an outage is in the nodes.",
    "dropped": "What a host kept during an outage was dropped, by MSM_ON_RECONNECT.",
    "local_storage_failed": "A host can keep nothing, with the reason.",
    "local_storage_works": "A host can keep sessions again.",
    "journal_taken_over": "A sticky worker ended without handing over; another worker did it.",
    "journal_damaged": "A journal of a sticky worker was damaged; what could be read was used.",
}
_ATTRIBUTES = {
    "attribute_blacklisted": "An attribute cannot be stored; None is stored in its place.",
    "attribute_refused": "An attribute cannot be stored; the request fails.",
    "attribute_kept_local": "An attribute cannot be stored; it stays in one process.",
    "attributes_uncounted": "More attributes than are listed cannot be stored.",
    "live_objects_dropped": "Objects that one process alone had are gone: too many, or too old.",
    "distribution_stop_asked": "An attribute cannot be stored, and the policy is *stop*.",
}
_OPERATORS = {
    "policy_changed": "An operator chose a serialization policy.",
    "policy_applied": "A worker obeys it.",
    "on_reconnect_changed": "An operator chose what follows an outage.",
    "on_reconnect_applied": "A worker obeys it.",
    "distribution_changed": "An operator stopped or started distribution.",
    "distribution_applied": "A worker obeys it.",
    "probed": "An operator asked a node.",
    "circuit_reset": "An operator had a worker try a node again at once.",
    "silenced": "An operator has alerts not tell of a known outage for a time.",
    "unsilenced": "An operator ended that.",
    "worker_forgotten": "An operator removed a worker that is gone from the list.",
    "pinned": "An operator has an attribute stored as None without trying.",
    "unpinned": "An operator ended that.",
    "unblacklisted": "An operator removed attributes from the blacklist: they are tried again.",
    "looked_up": "An operator looked a session up.",
    "revoked": "An operator ended a session.",
    "exported": "An operator downloaded the state.",
    "action_denied": "A change was refused: no right to it, a form that is not valid, too fast.",
    "action_failed": "A change failed.",
}
#: What is wrong for a while: noted once for the fleet; the event ``<kind>_over`` ends it.
CONDITIONS = {
    "node_evicts": "A node threw items out for want of memory in the last ten minutes.",
    "node_full": "A node refused to store in the last ten minutes: it runs with -M.",
    "node_connections": "Four fifths of a node's connections are or were open in the last ten"
    " minutes.",
    "map_cut": "The smallest node takes too small items for a list that workers share.",
    "map_refused": "A node refuses a list that workers share.",
    "host_clock": "The clock of a host differs from the nodes' by more than a minute.",
    "node_clock": "The clock of a node differs from the others' by more than a minute.",
    "kept_on_host": "A host keeps sessions that no node takes.",
    "kept_late": "Nodes do not take changes in time; the host keeps them and hands them over.",
    "one_memory": "Two ids of MSM_NODES lead to one memcached.",
    "foreign_fleet": "Another application, or one with another SECRET_KEY, uses the same keys.",
}
#: By subject, in the order of the documentation.
EVENT_KINDS = {
    "Nodes": _NODES,
    "Copying": _REBUILDS,
    "Outages and local storage": _OUTAGES,
    "Attributes": _ATTRIBUTES,
    "Operators": _OPERATORS,
    "Conditions": CONDITIONS,
}
