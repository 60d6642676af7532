"""Doing something: a page to review it, and the change itself. Nothing is done by GET."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flask import Response, current_app, request

from flask_msm.errors import CommandError, ConflictError
from flask_msm.operations.state.formatting import cut
from flask_msm.operations.state.session import answer
from flask_msm.operations.state.texts import _

from .actions import ACTIONS, SMALL, Action
from .base import MsmView
from .limits import Limits
from .responses import exposed, see_other
from .security import is_same_origin
from .views import applied_event


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import SessionFacts

    from .access import Access
    from .context import PageContext


_LONGEST_REASON = 200
#: So many session cookies of one browser are looked up.
_MOST_COOKIES = 4
#: A refused attempt is an event, at most one of an operator in ten seconds.
_NOTES = Limits(pause=10.0, most=6)
#: The fleet takes so many changes of one kind in a minute, and one in so many seconds.
_FLEET_MOST, _FLEET_PAUSE, _FLEET_WINDOW = 10, 5.0, 60.0


class ActingView(MsmView):
    """Base of views that change something."""

    def refuse_unsafe(self, operator: Access, action: str) -> Response | None:
        """Return a refusal unless a page of ours, made for *operator*, sent this request."""
        who = operator.name or "-"
        if not is_same_origin(request, self.context.options.admin_trusted_origins):
            self.note_refusal(who, _("{action} came from another site", action=action))
            return self.refusal(
                403,
                _(
                    "This did not come from a page of this dashboard. Behind a proxy that does not"
                    " pass the host on, use ProxyFix or set MSM_ADMIN_TRUSTED_ORIGINS."
                ),
            )
        token = request.form.get("token", "")
        if not self.context.tokens.is_right(current_app, token, operator.name, action):
            self.note_refusal(who, _("{action} had no valid token", action=action))
            return self.refusal(
                403, _("This form is too old, or was not made for you. Go back and reload it.")
            )
        return None

    def refuse_reader(self, operator: Access, action: str) -> Response | None:
        """Return a refusal if *operator* may only look."""
        if operator.can_write:
            return None
        self.note_refusal(operator.name or "-", _("{action} by a reader", action=action))
        return self.refusal(403, _("You can look but not change."))

    def too_fast(self, wait: float) -> Response:
        """Return a refusal for *wait* seconds."""
        seconds = max(1, math.ceil(wait))
        response = self.refusal(429, _("Try again in {n} s.", n=seconds))
        response.headers["Retry-After"] = str(seconds)
        return response

    def note_refusal(self, who: str, text: str, kind: str = "action_denied") -> None:
        """Write down that something was refused."""
        if not self.context.limiter.take(f"note:{who}", _NOTES):
            self.context.console.note(kind, text, actor=who, level="warning")


class ActView(ActingView):
    """Reviews and carries out what ``actions`` lists."""

    @exposed("/")
    def index(self) -> Response:
        """There is nothing to see without an action."""
        return self.refusal(404, _("There is no such page."))

    @exposed("/<action_name>", methods=("GET",))
    def review(self, action_name: str) -> Response:
        """Show what would be done."""
        action = ACTIONS.get(action_name)
        if action is None:
            return self.refusal(404, _("There is no such page."))
        page = self.context.page(acting=True)
        if not page.operator.can_write:
            return self.refusal(403, _("You can look but not change."))
        return self._confirmation(page, action, request.args, first=True)

    @exposed("/<action_name>", methods=("POST",))
    def carry_out(self, action_name: str) -> Response:  # noqa: PLR0911 - each refusal at once
        """Do it, and go where its effect can be seen."""
        action = ACTIONS.get(action_name)
        if action is None:
            return self.refusal(404, _("There is no such page."))
        page = self.context.page(acting=True)
        operator = page.operator
        refused = self.refuse_reader(operator, action.name) or self.refuse_unsafe(
            operator, action.name
        )
        if refused is not None:
            return refused
        form = request.form
        try:
            confirmation = action.confirmation(page.snapshot, form)
        except CommandError as error:
            return self.refusal(400, str(error), back=action.back)
        reason = (cut(form.get("reason", "").strip(), _LONGEST_REASON) or "").strip()
        faults = _faults(
            reason if confirmation.reason else "-", confirmation.word, form.get("word", "")
        )
        if faults:
            return self._confirmation(page, action, form, faults=faults, status=400)
        based_on = form.get("based_on")
        if confirmation.stamp is not None and not based_on:
            return self.refusal(400, _("The form is incomplete. Go back and reload it."))
        wait = self._wait(page, action)
        if wait:
            # The console is not asked. Waiting helps only who is not too late anyway.
            late = confirmation.stamp is not None and based_on != confirmation.stamp
            return self._too_late(operator, action) if late else self.too_fast(wait)
        order = {"actor": operator.name or "-", "reason": reason, "based_on": based_on}
        try:
            outcome = action.run(self.context.console, form, order)
        except ConflictError:
            self.context.limiter.give_back(_counted_as(page, action))
            return self._too_late(operator, action)
        except CommandError as error:
            self.note_refusal(
                order["actor"] or "-", f"{action.name}: {cut(str(error), 200)}", "action_failed"
            )
            return self.refusal(400, str(error), back=action.back)
        query = f"?{urlencode({'applied': outcome.event})}" if outcome.event else ""
        return see_other(f"{page.base}{action.back}{query}")

    def _too_late(self, operator: Access, action: Action) -> Response:
        self.note_refusal(
            operator.name or "-", _("{action} was too late", action=action.name), "action_failed"
        )
        return self.refusal(
            409,
            _(
                "Another operator, or you in another window, changed it: nothing was changed again."
                " Check the current value and try again."
            ),
            back=action.back,
        )

    def _confirmation(
        self,
        page: PageContext,
        action: Action,
        form: Any,
        *,
        first: bool = False,
        faults: dict[str, str] | None = None,
        status: int = 200,
    ) -> Response:
        try:
            confirmation = action.confirmation(page.snapshot, form)
        except CommandError as error:
            return self.refusal(400, str(error), back=action.back)
        return self.show(
            "confirmation",
            confirmation.title,
            sections={"footer": {}},
            page=page,
            live=False,
            status=status,
            confirmation=confirmation,
            action=action,
            faults=faults or {},
            # What the operator saw first, also when the form comes back with a fault.
            based_on=(not first and form.get("based_on")) or confirmation.stamp,
            # A link from elsewhere must not fill in the reason of an operator.
            reason="" if first else cut(form.get("reason"), _LONGEST_REASON) or "",
            token=self.context.token(action.name),
        )

    def _wait(self, page: PageContext, action: Action) -> float:
        """Return the time in seconds until the action may be done."""
        if action.kind:
            # Other workers count, too: what they did is in the events.
            ages = [
                page.now - event.at
                for event in page.snapshot.events
                if event.kind == action.kind and event.actor
            ]
            recent = [age for age in ages if age < _FLEET_WINDOW]
            if len(recent) >= _FLEET_MOST:
                return _FLEET_WINDOW - max(recent[:_FLEET_MOST])
            if recent and min(recent) < _FLEET_PAUSE:
                return _FLEET_PAUSE - max(0.0, min(recent))
        return self.context.limiter.take(_counted_as(page, action), action.limits)


class SessionsView(ActingView):
    """Looks one session up, and ends it."""

    @exposed("/")
    def index(self) -> Response:
        """Ask which session."""
        return self._page(self.context.page())

    @exposed("/look-up", methods=("POST",))
    def look_up(self) -> Response:  # noqa: PLR0911 - each refusal at once
        """Show what is known of a session. A POST, so that nothing of it is in an address."""
        page = self.context.page()
        operator = page.operator
        refused = self.refuse_unsafe(operator, "look-up")
        if refused is not None:
            return refused
        wait = self.context.limiter.take(f"{operator.name}:look-up", SMALL)
        if wait:
            return self.too_fast(wait)
        if request.form.get("own"):
            asked = _own_cookies()
            if not asked:
                return self._page(page, fault=_("Your browser sent no session."), status=400)
        else:
            asked = [text] if (text := request.form.get("session", "").strip()) else []
            if not asked:
                fault = _("Enter the ref or the cookie of a session.")
                return self._page(page, fault=fault, status=400)
        try:
            found = self._found(asked, operator.name or "-", request.form.get("reason", ""))
        except CommandError as error:
            return self._page(page, fault=str(error), status=400)
        if found is None:
            fault = _(
                "Ended or expired: no trace of it is left. The log of the workers may name its end."
            )
            return self._page(page, fault=fault, status=404)
        return self._page(page, found=found)

    def _found(self, asked: list[str], actor: str, reason: str) -> SessionFacts | None:
        """Return what is known of the first session in *asked* that lives, or else of the first.

        Raises:
            CommandError: None was found, and one of them could not be looked up.
        """
        fault: CommandError | None = None
        first: SessionFacts | None = None
        for text in asked:
            try:
                found = self.context.console.lookup(text, actor=actor, reason=reason)
            except CommandError as error:
                fault = error
                continue
            if found is not None and found.fate == "lives":
                return found
            first = first or found
        if fault is not None and first is None:
            raise fault
        return first

    @exposed("/revoke", methods=("POST",))
    def revoke(self) -> Response:
        """End a session everywhere."""
        page = self.context.page()
        operator = page.operator
        refused = self.refuse_reader(operator, "revoke") or self.refuse_unsafe(operator, "revoke")
        if refused is not None:
            return refused
        reason = (cut(request.form.get("reason", "").strip(), _LONGEST_REASON) or "").strip()
        if _faults(reason, "revoke", request.form.get("word", "")):
            return self._page(
                page,
                fault=_("Nothing was revoked: give a reason and type revoke."),
                status=400,
            )
        wait = self.context.limiter.take(f"{operator.name}:revoke", SMALL)
        if wait:
            return self.too_fast(wait)
        try:
            outcome = self.context.console.revoke(
                request.form.get("handle", ""),
                actor=operator.name or "-",
                reason=reason,
                based_on=None,
            )
        except CommandError as error:
            self.note_refusal(operator.name or "-", _("revoke failed"), "action_failed")
            return self._page(page, fault=str(error), status=400)
        query = f"?{urlencode({'applied': outcome.event})}" if outcome.event else ""
        return see_other(f"{page.base}sessions/{query}")

    def _page(self, page: PageContext, *, status: int = 200, **context: Any) -> Response:
        return self.show(
            "sessions",
            _("Look up a session"),
            page=page,
            sections={"banner": {"applied": applied_event(page)}, "footer": {}},
            # What was just done may not have come to the page yet; what was looked up stays.
            live="applied" in request.args,
            status=status,
            found=(found := context.get("found")),
            answer=answer(found) if found else None,
            fault=context.get("fault"),
            look_up_token=self.context.token("look-up"),
            revoke_token=self.context.token("revoke") if page.operator.can_write else "",
        )


def _counted_as(page: PageContext, action: Action) -> str:
    """Return the name under which the limiter counts what this request does."""
    name = f"{page.operator.name}:{action.name}"
    return f"{name}:{request.form.get('node', '')}" if action.per_target else name


def _own_cookies() -> list[str]:
    """Return the session cookies of the sender, by the name that the application gives them."""
    host = getattr(current_app, "host", current_app)
    return request.cookies.getlist(host.session_interface.get_cookie_name(host))[:_MOST_COOKIES]


def _faults(reason: str, word: str | None, typed: str) -> dict[str, str]:
    """Return what is missing, by field."""
    faults = {}
    if not reason:
        faults["reason"] = _("Say why, for those who read the events.")
    if word is not None and typed.strip() != word:
        faults["word"] = _("Type {word} to confirm.", word=word)
    return faults
