"""Names of Python and Flask that the reference links to: the site is built without a network.

Sphinx reads such names from an inventory of the other project's site. These are the few that are
used here; the annotations of this package have them also without their module.

No test follows the addresses, for it would need a network. With one,
``python -m sphinx.ext.intersphinx https://docs.python.org/3/objects.inv`` prints what there is.
"""

from __future__ import annotations

import zlib
from pathlib import Path


PYTHON = {
    "class": {
        "bool": "library/functions.html#bool",
        "bytes": "library/stdtypes.html#bytes",
        "dict": "library/stdtypes.html#dict",
        "float": "library/functions.html#float",
        "int": "library/functions.html#int",
        "list": "library/stdtypes.html#list",
        "object": "library/functions.html#object",
        "set": "library/stdtypes.html#set",
        "str": "library/stdtypes.html#str",
        "tuple": "library/stdtypes.html#tuple",
        "type": "library/functions.html#type",
        "datetime.datetime": "library/datetime.html#datetime.datetime",
        "collections.abc.Callable": "library/collections.abc.html#collections.abc.Callable",
        "collections.abc.Collection": "library/collections.abc.html#collections.abc.Collection",
        "collections.abc.Iterable": "library/collections.abc.html#collections.abc.Iterable",
        "collections.abc.Mapping": "library/collections.abc.html#collections.abc.Mapping",
        "re.Pattern": "library/re.html#re.Pattern",
    },
    "data": {
        "None": "library/constants.html#None",
        "typing.Any": "library/typing.html#typing.Any",
    },
    "exception": {
        name: f"library/exceptions.html#{name}"
        for name in (
            "AssertionError", "KeyError", "LookupError", "OSError", "RuntimeError", "TypeError",
            "ValueError",
        )
    },
}  # fmt: skip
FLASK = {
    "class": {
        "flask.Flask": "api/#flask.Flask",
        "flask.app.Flask": "api/#flask.Flask",
        "Flask": "api/#flask.Flask",
        "Request": "api/#flask.Request",
        "Response": "api/#flask.Response",
        "FlaskClient": "api/#flask.testing.FlaskClient",
        "flask.sessions.SessionInterface": "api/#flask.sessions.SessionInterface",
        "flask.sessions.SessionMixin": "api/#flask.sessions.SessionMixin",
        "SessionMixin": "api/#flask.sessions.SessionMixin",
    }
}


def write(project: str, names: dict[str, dict[str, str]], path: Path) -> str:
    """Write an inventory in Sphinx's format 2 and return its path."""
    rows = "".join(
        f"{name} py:{role} 1 {address} -\n"
        for role, entries in names.items()
        for name, address in entries.items()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    head = (
        f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    path.write_bytes(head.encode() + zlib.compress(rows.encode()))
    return str(path)
