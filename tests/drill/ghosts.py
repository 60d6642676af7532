"""Cookies of people who logged out, shown again to every site."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.tab import Tab


if TYPE_CHECKING:
    from stage import Stage


#: So often each cookie is shown to each site: whichever worker is free answers.
TIMES = 4


class Ghosts:
    """Logs people out in the middle of things and sees whether they stay out.

    Args:
        stage: Nodes and sites.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._inside: list[str] = []
        self._gone: list[str] = []

    def sign_in(self, site: str, count: int = 2) -> None:
        """Let *count* people sign in at *site*; they visit every site, so that all know them."""
        with Tab() as tab:
            for number in range(count):
                answer = tab.ask(self._stage.sites[site].worker, "/set", None, {"name": number})
                assert answer.cookie
                self._inside.append(answer.cookie)
                for other in self._stage.sites.values():
                    for _ in range(TIMES):
                        tab.ask(other.worker, "/get", answer.cookie)

    def log_out(self, site: str) -> None:
        """Let the next one of them log out at *site*."""
        if not self._inside:
            return
        cookie = self._inside.pop()
        with Tab() as tab:
            answer = tab.ask(self._stage.sites[site].worker, "/logout", cookie, {})
        assert answer.status == 200
        self._gone.append(cookie)

    def undone(self) -> int:
        """Return how many of those who logged out are served again, now that all is well."""
        served = 0
        with Tab() as tab:
            for cookie in self._gone:
                bodies = [
                    tab.ask(site.worker, "/get", cookie).body
                    for site in self._stage.sites.values()
                    for _ in range(TIMES)
                ]
                served += any(body and "name" in body for body in bodies)
        return served
