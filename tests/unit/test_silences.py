"""A known outage is silenced for a time: alerts leave it out, and everything else shows it."""

from __future__ import annotations

import pytest
from support.crew import Crew

from flask_msm.errors import CommandError
from flask_msm.operations.cli_fleet import status_lines
from flask_msm.operations.silences import MAX_NOTE, MAX_SILENCE
from flask_msm.operations.state.document import document


SECRET = "sixteen-letters-"
ANNA = {"actor": "anna", "reason": "disk is replaced", "based_on": None}


@pytest.fixture
def told():
    return []


@pytest.fixture
def crew(told):
    made = Crew(3, nodes=3, MSM_ON_ALERT=told.append, MSM_ALERT_SECRET=SECRET)
    ticks(made, 4)
    return made


def ticks(crew, count=6):
    for _ in range(count):
        crew.tick()


def test_a_silenced_outage_is_not_told_and_every_worker_shows_it_with_its_note(crew, told):
    console = crew.workers[1].console

    console.silence("n1", 7200.0, **ANNA)
    crew.nodes["n1"].fail()
    ticks(crew)

    assert told == []
    view = crew.workers[0].console.view()
    (silence,) = view.silences
    assert (silence.node, silence.note, silence.set_by) == ("n1", "disk is replaced", "anna")
    state = document(view, poll_after=1.0)
    assert state["silences"][0]["note"] == "disk is replaced"
    assert state["verdict"]["code"] == "nodes_down"
    (line,) = [text for name, text in status_lines(view)[0] if name == "silenced"]
    assert line.startswith("n1 until ")
    assert line.endswith("by anna: disk is replaced")


def test_what_happens_beside_a_silenced_outage_is_told(crew, told):
    crew.workers[0].console.silence("n1", 7200.0, **ANNA)
    crew.nodes["n1"].fail()
    ticks(crew)

    crew.nodes["n2"].fail()
    ticks(crew)

    assert [alert["code"] for alert in told] == ["nodes_down"]
    assert "n2" in told[0]["text"] + told[0]["title"]


@pytest.mark.parametrize("over", ["taken back", "ended"])
def test_an_outage_that_outlasts_its_silence_is_told(crew, told, over):
    console = crew.workers[0].console
    console.silence(None, 600.0, **ANNA)
    crew.nodes["n1"].fail()
    ticks(crew)
    assert told == []

    if over == "ended":
        crew.clock.advance(601.0)
    else:
        console.unsilence(None, **ANNA)
    ticks(crew)

    assert "nodes_down" in [alert["code"] for alert in told]
    assert crew.workers[0].console.view().silences == ()


@pytest.mark.parametrize(
    ("node", "seconds", "note"),
    [
        ("n9", 60.0, "why"),
        ("n1", 0.0, "why"),
        ("n1", MAX_SILENCE + 1, "why"),
        ("n1", 60.0, " "),
        ("n1", 60.0, "x" * (MAX_NOTE + 1)),
    ],
)
def test_what_is_no_silence_is_refused(crew, node, seconds, note):
    with pytest.raises(CommandError):
        crew.workers[0].console.silence(node, seconds, actor="anna", reason=note, based_on=None)
