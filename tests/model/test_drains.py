"""Nodes are drained, taken back and lost one after the other, and no session that rests goes.

Whole applications over nodes in memory. A story is a few steps chosen by a seed. A node in use
loses its memory only when ``check`` says that this would lose nothing: so it is at the end, too.
``DRAIN_STORIES=1000`` plays more of them.
"""

from __future__ import annotations

import base64
import os
import random
from contextlib import suppress
from functools import partial
from unittest import mock

from flask import session
from support.crew import BY, Crew

from flask_msm.cluster.placement import Placement
from flask_msm.errors import CommandError


STORIES = int(os.environ.get("DRAIN_STORIES", "4"))
#: How many stories are played until one shows what is missing.
TRIES = 8
#: Steps of a story, sessions that begin in each, and ticks until all is well again.
STEPS, SESSIONS, PATIENCE = 8, 6, 60


class Story:
    """Workers, their nodes, and what was acknowledged.

    Attributes:
        living: What each session contains, by its cookie.
        over: Cookies of sessions that were signed out.
        told: What happened.
    """

    def __init__(self, seed) -> None:
        self.chance = random.Random(seed)
        self.crew = Crew(0, nodes=4, MSM_MIRROR=False)
        self.crew.workers = [self.hire() for _ in range(3)]
        self.living: dict[str, int] = {}
        self.over: list[str] = []
        self.told: list[str] = []
        self.settle()

    def hire(self):
        worker = self.crew.hire()
        # Requests go by what this worker knows of the nodes.
        nodes, cluster = worker.state.store.nodes, worker.cluster
        nodes.views, nodes.report = cluster.state, cluster.reactions.failed
        nodes.answered, nodes.left_out = cluster.reactions.answered, cluster.reactions.left_out
        cluster.monitor.begin()
        return worker

    @property
    def worker(self):
        return self.chance.choice(self.crew.workers)

    def check(self):
        return self.worker.console.check()

    def drained(self) -> list[str]:
        """Return the nodes that may be switched off."""
        return [one.node for one in self.check().nodes if one.drained]

    def ticks(self) -> None:
        for _ in range(self.chance.randint(0, 4)):
            self.crew.tick()

    def settle(self) -> None:
        """Tick until losing any one node would lose nothing."""
        for _ in range(PATIENCE):
            self.crew.tick()
            report = self.check()
            if report.all_up:
                return
        raise AssertionError(f"{self.told}: {report.waits_for}")

    # -- steps -----------------------------------------------------------------------------------

    def step(self) -> None:
        step = self.chance.choice(
            [self.drain, self.undrain, self.kill, self.stop, self.flush, self.replace]
        )
        drained = self.drained()
        node_id = self.chance.choice(
            drained if drained and step == self.undrain else list(self.crew.nodes)
        )
        self.told.append(f"{step.__name__} {node_id}, drained are {drained}")
        step(node_id)
        self.use()
        self.ticks()

    def drain(self, node_id) -> None:
        with suppress(CommandError):  # too few would be left
            self.worker.console.drain(node_id, **BY)

    def undrain(self, node_id) -> None:
        if node_id in self.drained() and self.chance.random() < 0.7:
            self.crew.nodes[node_id].restart_empty()
        self.worker.console.undrain(node_id, **BY)

    def kill(self, node_id) -> None:
        self.settle()
        self.crew.nodes[node_id].fail()
        self.use()
        self.ticks()
        self.use()
        self.crew.nodes[node_id].restart_empty()

    def stop(self, node_id) -> None:
        self.crew.nodes[node_id].hang()
        self.use()
        self.ticks()
        self.use()
        self.crew.nodes[node_id].heal()

    def flush(self, node_id) -> None:
        self.settle()
        self.crew.nodes[node_id].items.clear()

    def replace(self, _) -> None:
        workers = self.crew.workers
        number = self.chance.randrange(len(workers))
        workers[number].cluster.monitor.leave()
        workers[number] = self.hire()

    # -- requests --------------------------------------------------------------------------------

    def use(self) -> None:
        """Let people sign in, change something and sign out."""
        for _ in range(SESSIONS):
            self.change(None)
        for cookie in self.chance.sample(sorted(self.living), min(3, len(self.living))):
            self.change(cookie)
        for cookie in self.chance.sample(sorted(self.living), min(2, len(self.living))):
            self.sign_out(cookie)

    def change(self, cookie) -> None:
        number = self.chance.randrange(10**9)
        worker = self.worker
        client = worker.browser(cookie)
        worker.ask(lambda: session.update(number=number), client=client)
        self.living.pop(cookie, None)
        self.living[worker.cookie(client)] = number

    def sign_out(self, cookie) -> None:
        worker = self.worker
        worker.ask(lambda: session.destroy(), client=worker.browser(cookie))
        del self.living[cookie]
        self.over.append(cookie)

    # -- the end ---------------------------------------------------------------------------------

    def wrong(self) -> list[str]:
        """Lose one more node; return what is wrong at a new worker and at all others."""
        self.crew.workers.insert(0, self.hire())
        self.settle()
        lost = self.chance.choice(sorted(set(self.crew.nodes) - set(self.drained())))
        self.told.append(f"at the end kill {lost}")
        self.crew.nodes[lost].fail()
        self.crew.tick()
        wrong = []
        for worker in self.crew.workers:
            for cookie, number in self.living.items():
                seen = self.seen(worker, cookie)
                if seen != number:
                    wrong.append(f"{worker.name} shows {seen} instead of {number}")
            back = sum(self.seen(worker, cookie) is not None for cookie in self.over)
            if back:
                wrong.append(f"{worker.name} shows {back} sessions that were signed out")
        return wrong

    def seen(self, worker, cookie):
        return worker.ask(lambda: session.get("number"), client=worker.browser(cookie))


def play(seed) -> tuple[list[str], list[str]]:
    """Play a story; return what was wrong at its end, and what happened before."""
    ids = random.Random(seed)
    with mock.patch("flask_msm.sessions.unit_of_work.new_sid", partial(new_sid, ids)):
        story = Story(seed)
        for _ in range(STEPS):
            story.step()
        return story.wrong(), story.told


def new_sid(chance) -> str:
    return base64.urlsafe_b64encode(chance.randbytes(32)).rstrip(b"=").decode()


def test_no_story_of_drained_and_lost_nodes_loses_a_session_or_undoes_a_logout():
    for seed in range(STORIES):
        wrong, told = play(seed)
        assert not wrong, f"story {seed}: {told}, {len(wrong)} wrong: {wrong[:3]}"


def test_the_stories_find_copies_of_a_drained_node_that_are_not_made_again():
    home_test = Placement.home_test

    def of_homes_only(placement, node_id, among):
        return home_test(placement, node_id, placement._ids)

    with mock.patch.object(Placement, "home_test", of_homes_only):
        assert any(play(seed)[0] for seed in range(TRIES))
