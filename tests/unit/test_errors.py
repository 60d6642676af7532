"""The errors of the package, as another process gets them."""

from __future__ import annotations

import copy
import pickle

import pytest

from flask_msm.errors import (
    CommandError,
    ConfigError,
    EncodeError,
    IncompleteRecordError,
    NodeBusyError,
    SerializationError,
    SessionTooLargeError,
)


ERRORS = [
    CommandError("it cannot be done"),
    ConfigError("MSM_REPLICAS", 0, "at least 1"),
    EncodeError(".lock", "_thread.lock", "not a type the codec takes"),
    IncompleteRecordError("a part of it", {"part": 1}, damaged=False),
    NodeBusyError("n1", "timed out"),
    SerializationError("a", path="a.b", type_name="x.Y", endpoint=None, reason="no", raised="E"),
    SessionTooLargeError(size=2, limit=1, largest="a", endpoint="cart"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "sent", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))], ids=["copy", "pickle"]
)
def test_an_error_is_the_same_in_another_process(error, sent):
    found = sent(error)

    assert type(found) is type(error)
    assert str(found) == str(error)
    assert vars(found) == vars(error)
