"""The choices of an operator in words."""

from __future__ import annotations

from flask_msm.operations.state.texts import _


POLICIES = ("raise", "local", "blacklist", "stop")
RECONNECTS = ("promote", "discard")


def policy_name(value: str) -> str:
    """Return a choice as a word at the beginning of a sentence."""
    return _(value[:1].upper() + value[1:])


def consequence(value: str) -> str:
    """Return what a policy does, in two sentences."""
    return {
        "raise": _(
            "The request that tried to save the session fails with an error; what was stored"
            " stays. Nothing is lost without notice, users see an error page until the code is"
            " fixed."
        ),
        "local": _(
            "The session stays with the worker that handled it, other workers go on with its last"
            " good state. Users may see old data after the next request, and a restart of the"
            " worker loses what could not be stored."
        ),
        "blacklist": _(
            "The attribute is stored as None and listed under Blacklist, everything else in the"
            " session is distributed. Code that reads the attribute in another request finds None."
        ),
        "stop": _(
            "Nothing stops until an attribute fails. The first failure stops distribution for all"
            " workers, until an operator resumes."
        ),
    }.get(value, value)


def summary(value: str) -> str:
    """Return what a policy does, in one short sentence."""
    return {
        "raise": _("The request fails, what was stored stays."),
        "local": _("The session stays with its worker."),
        "blacklist": _("The attribute is stored as None, the rest is saved."),
        "stop": _("The first failure stops distribution."),
    }.get(value, value)


def reconnect_consequence(value: str) -> str:
    """Return what a choice for reconnects does."""
    return {
        "promote": _(
            "What was changed locally during an outage is joined into the cluster. Nothing is lost."
        ),
        "discard": _(
            "What was changed locally during an outage is dropped. Users go on with the state from"
            " before it."
        ),
    }.get(value, value)
