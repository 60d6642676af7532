"""What operators chose at run time, brought to where it counts; and what this host remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_msm.cluster.control import CLEAR, DISTRIBUTION, ON_RECONNECT, PIN, POLICY

from .pins import Pin


if TYPE_CHECKING:
    from flask_msm.cluster.control import Control
    from flask_msm.cluster.events import Events
    from flask_msm.process.clock import Clock
    from flask_msm.storage.local.store import LocalStore

    from .blacklist import Blacklist
    from .pins import Pins


#: Under this name the blacklist is noted on the host, so that it survives its workers.
BLACKLIST_NOTE = "fleet:blacklist"
#: Kind of the event that this worker obeys another policy.
POLICY_APPLIED = f"{POLICY}_applied"


class RuntimeOverrides:
    """Applies choices to one worker."""

    def __init__(
        self,
        control: Control,
        *,
        pins: Pins,
        blacklist: Blacklist,
        local: LocalStore,
        events: Events,
        clock: Clock,
    ) -> None:
        self._control = control
        self._pins = pins
        self._blacklist = blacklist
        self._local = local
        self._events = events
        self._clock = clock
        #: Stamps of what is obeyed; what held when this worker began is not reported.
        self._obeyed: dict[str, int] | None = None
        self._noted = b""
        #: What was cleared already: stamp and time by name.
        self._cleared: dict[str, tuple[int, float]] = {}

    def policy(self) -> str | None:
        """Return the policy that was chosen, ``None`` for the configured one."""
        return self._control.choice(POLICY).value

    def apply(self) -> None:
        """Take over pins and clears. No I/O: it may be called in a request."""
        chosen = self._control.choices(PIN).items()
        self._pins.set_chosen(
            Pin(name, choice.who, choice.why, choice.at) for name, choice in chosen if choice.value
        )
        clears = self._control.choices(CLEAR)
        for name in [name for name in list(self._cleared) if name not in clears]:
            self._cleared.pop(name, None)
        for name, choice in clears.items():
            stamp, at = self._cleared.get(name, (0, 0.0))
            if stamp != choice.stamp:
                # A clock that is ahead clears nothing of what is still to come.
                at = min(choice.at, self._clock.time())
                self._cleared[name] = choice.stamp, at
                self._blacklist.clear(at, name or None)
        self._say_what_is_obeyed()

    def _say_what_is_obeyed(self) -> None:
        """Report choices made elsewhere, by a command line for example, which is no worker."""
        names = POLICY, ON_RECONNECT, DISTRIBUTION
        choices = {name: self._control.choice(name) for name in names}
        before = self._obeyed
        self._obeyed = {name: choice.stamp for name, choice in choices.items()}
        for name, choice in choices.items():
            if before is not None and before[name] != choice.stamp:
                value = choice.value or "as configured"
                text = f"{name} is {value} now, by {choice.who}"
                because = f" ({choice.why})" if choice.why else ""
                self._events.add("info", f"{name}_applied", text + because)

    def keep(self) -> None:
        """Merge the blacklist noted on the host, and note the result there."""
        noted = self._local.get_blob(BLACKLIST_NOTE)
        if noted is not None and noted != self._noted:
            # From the host's own folder, and still parsed as untrusted data.
            self._blacklist.merge(noted)
        if len(self._blacklist) or noted:
            mine = self._blacklist.to_json()
            if mine != noted:
                self._local.put_blob(BLACKLIST_NOTE, mine)
            self._noted = mine

    def entries(self) -> Any:
        """Return the entries that this worker reports to others, as JSON takes them."""
        return self._blacklist.summary(60).decode()
