"""A visitor: knows what was acknowledged, and takes nothing less for an answer.

What may be asked of a browser with one tab: everything that was acknowledged before a request was
sent is in its answer. Of tabs that are used at the same time: the cookie they share is that of
whichever answer came last, which may be the older one and then asks for less; so while nodes fail a
tab may see its own last change late. But what the answer to a change holds is that change, the
session is never gone, its id stays, and at the end nothing may be missing.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from .browser import Browser
from .ledger import Ledger, in_words, is_behind, missing_of


if TYPE_CHECKING:
    from .browser import Answer, Gate
    from .ledger import Entries
    from .observations import Observations

#: Seconds between two clicks, at least and at most.
PAUSE = (0.02, 0.1)
#: Each tab changes a counter, and so many attributes in turn.
_ITEMS = 12
_NAME = "name"


class Visitor:
    """One browser.

    Args:
        name: Its user's.
        port: Where it sends requests to.
        tabs: How many tabs it uses at the same time.
        seen: Told of everything.
        gate: Holds requests back and signals the end.
        pause: Seconds between two clicks, at least and at most.

    Attributes:
        cookie: What the tabs share.
    """

    def __init__(
        self,
        name: str,
        port: int,
        tabs: int,
        *,
        seen: Observations,
        gate: Gate,
        pause: tuple[float, float] = PAUSE,
    ) -> None:
        self.cookie = ""
        self._name = name
        self._port = port
        self._seen = seen
        self._gate = gate
        self._pause = pause
        self._ledgers = [Ledger() for _ in range(tabs)]
        self._threads = [
            threading.Thread(target=self._click_on, args=(ledger, tab), daemon=True)
            for tab, ledger in enumerate(self._ledgers)
        ]

    def begin(self) -> None:
        """Sign in and begin to click."""
        browser = Browser(self._port, self._seen, self._gate)
        answer = browser.ask("/sign-in", None, {_NAME: self._name})
        if answer and answer.cookie:
            self.cookie = answer.cookie
            for thread in self._threads:
                thread.start()

    def join(self) -> None:
        """Wait for the last click."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def acknowledged(self) -> list[Entries]:
        """Return what was acknowledged so far, by tab."""
        return [ledger.entries() for ledger in self._ledgers]

    def sees(self, browser: Browser, wanted: list[Entries]) -> bool:
        """Return whether another browser with this cookie sees all of *wanted*."""
        answer = browser.ask("/", self.cookie)
        return (
            answer is not None
            and answer.body.get(_NAME) == self._name
            and not any(missing_of(entries, answer) for entries in wanted)
        )

    def look(self, browser: Browser, wanted: list[Entries], when: str) -> None:
        """Call lost what another browser with this cookie does not see of *wanted*."""
        answer = browser.ask("/", self.cookie)
        if answer is None:
            return
        if answer.body.get(_NAME) != self._name:
            text = f"{when}, {self._name}: the session is gone at {answer.site}"
            self._seen.signed_out.append(text)
            return
        for ledger, entries in zip(self._ledgers, wanted, strict=True):
            self._lose(ledger, missing_of(entries, answer), answer, f"{when}, {self._name}")

    def _click_on(self, ledger: Ledger, tab: int) -> None:
        number = 0
        browser = Browser(self._port, self._seen, self._gate)
        while not self._gate.ending.wait(random.uniform(*self._pause)):
            number += 1
            change = {}
            if random.random() < 0.5:
                change = {f"tab {tab} item {number % _ITEMS}": number, f"tab {tab}": number}
            self._click(browser, ledger, change)

    def _click(self, browser: Browser, ledger: Ledger, change: dict[str, int]) -> None:
        known, phase, was_apart = ledger.entries(), self._seen.phase, self._seen.apart
        what = f"{phase}, {self._name}, {'changed' if change else 'read'}"
        sent = self.cookie
        answer = browser.ask("/set" if change else "/", sent, change or None)
        if answer is None:
            return
        if any(is_behind(answer.body.get(name), value) for name, value in change.items()):
            self._seen.lost.append(f"{what}: not in the answer to it, at {answer.site}")
        missing = missing_of(known, answer)
        is_there = answer.body.get(_NAME) == self._name
        if was_apart or self._seen.apart:
            # A host that has never seen the session cannot know more of it than the cookie says.
            if missing or not is_there:
                self._seen.unseen.append(f"{what}: {'; '.join(in_words(missing, answer))}")
        elif not is_there:
            home = f"{answer.site}, asked with a cookie of {sent.rpartition('.')[2]}"
            self._seen.signed_out.append(f"{what}: the session is gone at {home}")
        elif missing and len(self._ledgers) > 1:
            self._seen.late.append(f"{what}: {'; '.join(in_words(missing, answer))}")
        else:
            self._lose(ledger, missing, answer, what)
        self._keep(answer, what)
        ledger.acknowledge(change, answer, phase)

    def _lose(self, ledger: Ledger, missing: Entries, answer: Answer, what: str) -> None:
        lost = in_words(ledger.newly_lost(missing), answer)
        self._seen.lost += [f"{what}: {text}" for text in lost]

    def _keep(self, answer: Answer, what: str) -> None:
        """Keep the cookie of an answer, as long as it is one of the same session."""
        if answer.cookie is None:
            return
        if sid_of(answer.cookie) == sid_of(self.cookie):
            self.cookie = answer.cookie
        else:
            # The old one is kept: what else is wrong shall show as well.
            how = "replaced" if answer.cookie else "deleted"
            self._seen.signed_out.append(f"{what}: the cookie was {how} at {answer.site}")


def sid_of(cookie: str) -> str:
    """Return the part of *cookie* that stays the same as long as the session does."""
    return cookie.partition(".")[0]
