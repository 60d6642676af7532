"""What became of one session, in the words of its page: the answer first."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .formatting import iso
from .texts import _


if TYPE_CHECKING:
    from flask_msm.operations.snapshot import SessionFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a session.

    Attributes:
        title: The whole answer.
        text: What that means for its user.
    """

    title: str
    text: str


def answer(found: SessionFacts) -> Answer:
    """Return what became of the session that was looked up."""
    if found.fate == "ended":
        return _ended(found)
    at, renewed = _time(found.ended_at), _time(found.renewed)
    titles = {
        "moved": (
            _("It got a new id at {at}: {ref}", at=at, ref=found.moved_to or _("unknown")),
            _("Its user stayed signed in with the new one. Nothing failed."),
        ),
        "expired": (
            _("Expired: unused since {at}", at=renewed),
            _("Its user has to sign in again. Nothing failed: it was not used for too long."),
        ),
        "lost": (
            _("Lost: last written at {at}, and nothing of it is left", at=renewed),
            _("It had neither ended nor expired. No node and no host that was asked has it."),
        ),
        "key_unknown": (
            _("It is there, signed with a key that this application does not have"),
            _(
                "SECRET_KEY was changed. Its user is signed in again once the former key is in"
                " SECRET_KEY_FALLBACKS."
            ),
        ),
    }
    title, text = titles.get(
        found.fate, (_("It is there: last written at {at}", at=renewed), _("Nothing failed."))
    )
    return Answer(title=title, text=text)


def _ended(found: SessionFacts) -> Answer:
    meant = _("Its user was signed out with the next click. Nothing failed: this was meant.")
    if found.ended_at is None:
        return Answer(title=_("Ended; when and by whom was not kept"), text=meant)
    at = _time(found.ended_at)
    if found.ended_by is None:
        return Answer(
            title=_("Signed out by its owner at {at}", at=at)
            if found.ended_how == "signed out"
            else _("Ended at {at}: {how}", at=at, how=found.ended_how or _("how was not kept")),
            text=_("Nothing failed: this was meant."),
        )
    because = _(", because of “{reason}”", reason=found.ended_reason) if found.ended_reason else ""
    title = _("Ended by {name} at {at}{because}", name=found.ended_by, at=at, because=because)
    return Answer(title=title, text=meant)


def session_document(found: SessionFacts) -> dict[str, Any]:
    """Return what is known of a session as JSON takes it, times in ISO 8601."""
    said = answer(found)
    times = ("created", "renewed", "expires_at", "ended_at")
    facts = {
        name: iso(value) if name in times and value is not None else value
        for name, value in asdict(found).items()
    }
    return {**facts, "title": said.title, "text": said.text}


def _time(at: float | None) -> str:
    return _("an unknown time") if at is None else iso(at).replace("T", " ").replace("Z", " UTC")
