"""What an entry of a shared map contains.

The map is signed, but a newer version may write otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from flask_msm.errors import one_line


def facts_in(raw: bytes) -> dict[str, object]:
    """Return the facts in an entry; none if it holds something else."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def text_in(facts: Mapping[str, object], name: str, limit: int) -> str:
    """Return the text *name* among *facts*, in at most *limit* characters; empty if it is none."""
    text = facts.get(name)
    return one_line(text, limit) if isinstance(text, str) else ""
