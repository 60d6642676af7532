"""Applications whose sessions live in nodes in memory, with a clock that a test moves."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

from flask import Flask, Response, request
from support.clock import FakeClock
from support.fake_node import FakeNode

from flask_msm import MemcachedSessionManager
from flask_msm.cluster.health import NodeState, rights
from flask_msm.errors import NodeValueError
from flask_msm.record.keys import storage_key
from flask_msm.record.token import signer_for


LIFE = 1000.0
SECRET = "test"


class NoLocalStorage:
    """A cache that takes nothing."""

    def get(self, key):
        return None

    def set(self, key, value, timeout=None):
        return False

    def delete(self, key):
        return True


class FakeManager(MemcachedSessionManager):
    """A manager whose nodes are in memory.

    Args:
        brought: What the environment of its applications has in place of the usual.
        options: Further arguments of a manager.
    """

    def __init__(self, app=None, *, brought=None, **options) -> None:
        self.brought = {"make_node": lambda address: FakeNode(address.id), **(brought or {})}
        super().__init__(app, **options)

    def _environment(self, app, settings, clock):
        return replace(super()._environment(app, settings, clock), **self.brought)


class Views:
    """The store's view of the nodes: one that failed is in doubt until a test trusts it."""

    def __init__(self) -> None:
        self.doubted: set[str] = set()
        self.lossy = set()
        self.moved = False

    def rights(self, node_id):
        if node_id in self.doubted:
            return rights(NodeState.RECOVERING, trusted=False)
        return rights(NodeState.UP, trusted=True)

    def failed(self, node_id, error):
        if not isinstance(error, NodeValueError):
            self.doubted.add(node_id)

    def may_lack(self, node_id):
        return node_id in self.lossy

    def scattered(self):
        return self.moved


class Handle:
    """An application, its nodes, its clock and a browser.

    A view is a callable that a test hands in with each request: ``handle.do(callable)``.
    """

    def __init__(self, app, manager, clock) -> None:
        self.app = app
        self.manager = manager
        self.clock = clock
        self.state = app.extensions.get("msm")
        self.client = app.test_client()
        self.views = Views()
        if self.state is not None and self.state.nodes:
            # The fleet's view of the nodes is tested elsewhere; here a test sets it.
            replicas = self.state.store.nodes
            replicas.views, replicas.report = self.views, self.views.failed
            replicas.answered = replicas.left_out = lambda *_: None
            self.state.interface.before_load = lambda: None
            self.state.interface._is_first = False
            # As if the nodes had been asked what time it is.
            self.state.repository.clock.correct(())
            # Which reads ask both homes is shown elsewhere; here operations are counted.
            self.state.store.cluster._second_looks = None
            # Whether a node remembers is asked of the fleet as well.
            self.state.store.remembers = lambda *_: True

    def use_fleet(self) -> None:
        """Let the fleet see the nodes after all, and begin with the first request."""
        cluster, replicas = self.state.parts.cluster, self.state.store.nodes
        replicas.views, replicas.report = cluster.state, cluster.reactions.failed
        replicas.answered, replicas.left_out = (
            cluster.reactions.answered,
            cluster.reactions.left_out,
        )
        self.state.interface.before_load = cluster.runtime.on_load
        self.state.interface.forget()

    # -- requests ------------------------------------------------------------------------------

    def do(self, action=None, path="/", *, client=None, **options) -> Response:
        """Run *action* in a request of *client*."""
        environ = {"test.action": action} if action else {}
        return (client or self.client).get(path, environ_overrides=environ, **options)

    def ask(self, action, path="/", *, client=None):
        """Run *action* in a request of *client* and return what it returned."""
        answers = []
        response = self.do(lambda: answers.append(action()), path, client=client)
        assert response.status_code == 200
        return answers[0]

    def browser(self, cookie=None):
        """Return another browser; with *cookie* it holds that one."""
        client = self.app.test_client()
        if cookie is not None:
            client.set_cookie(self.cookie_name, cookie)
        return client

    @property
    def cookie_name(self) -> str:
        return self.app.config["SESSION_COOKIE_NAME"]

    def cookie(self, client=None) -> str | None:
        """Return the session cookie of *client*."""
        found = (client or self.client).get_cookie(self.cookie_name)
        return found.value if found else None

    def under_way(self, cookie=None, path="/") -> Visit:
        """Return a request that goes on until the test ends it."""
        return Visit(self.app, self.cookie() if cookie is None else cookie, path)

    # -- nodes ---------------------------------------------------------------------------------

    @property
    def nodes(self) -> dict[str, FakeNode]:
        return self.state.nodes

    def operations(self) -> list[str]:
        """Return what the nodes were asked since the last call, sorted."""
        done = sorted(name for node in self.nodes.values() for name in node.operations)
        for node in self.nodes.values():
            node.operations.clear()
        return done

    def outage(self, *node_ids) -> None:
        for node_id in node_ids or self.nodes:
            self.nodes[node_id].fail()

    def heal(self, *, trusted=False) -> None:
        """Bring all nodes back: read together with others, or *trusted* at once."""
        for node in self.nodes.values():
            node.heal()
        if trusted:
            self.views.doubted.clear()

    def homes(self, cookie=None) -> tuple[str, ...]:
        """Return the nodes that shall hold a session, the primary first."""
        return self.state.store.nodes.placement.homes(self.key(cookie))

    @property
    def background(self):
        """Return what writes copies behind the response."""
        return self.state.store.cluster._background

    def token(self, cookie=None):
        return signer_for(self.secrets).loads(cookie or self.cookie())

    def key(self, cookie=None) -> str:
        return storage_key(self.state.settings.key_prefix, self.token(cookie).sid)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.app.secret_key, *(self.app.config["SECRET_KEY_FALLBACKS"] or ()))

    def records(self, cookie=None) -> dict[str, object]:
        """Return the record of a session by node, as it is stored."""
        return self.stored(self.key(cookie))

    def stored(self, key) -> dict[str, object]:
        envelope = self.state.parts.envelope
        return {
            node_id: envelope.open(node.items[key][0], key)
            for node_id, node in self.nodes.items()
            if key in node.items
        }

    def all_keys(self) -> set[str]:
        keys = {key for node in self.nodes.values() for key in node.items}
        return {key for key in keys if ":fleet:" not in key}

    def live_keys(self) -> set[str]:
        """Return the storage keys of all sessions that neither ended nor moved."""
        return {
            key
            for key in self.all_keys()
            if any(record.kind.name == "DATA" for record in self.stored(key).values())
        }


class Visit:
    """One request of its own, driven by hand as Flask drives it."""

    def __init__(self, app, cookie, path="/") -> None:
        headers = {"Cookie": f"{app.config['SESSION_COOKIE_NAME']}={cookie}"} if cookie else {}
        context = app.test_request_context(path, headers=headers)
        self._app = app
        self.session = app.session_interface.open_session(app, context.request)

    def end(self) -> Response:
        response = Response()
        self._app.session_interface.save_session(self._app, self.session, response)
        return response


def make_app(
    nodes=3,
    replicas=2,
    *,
    clock=None,
    manager=None,
    setup=None,
    testing=True,
    name="shop",
    **config,
):
    """Return a ``Handle`` on a new application with *nodes* nodes and *replicas* copies.

    *setup* is called with the application before its first request.
    """
    app = Flask(name, static_folder=None)
    app.config.update(SECRET_KEY=SECRET, PERMANENT_SESSION_LIFETIME=LIFE)
    app.testing = testing
    # A folder would be shared with the applications of other tests.
    app.config["MSM_LOCAL_CACHE"] = "simple"
    app.config["MSM_ADMIN"] = False
    if nodes:
        app.config["MSM_NODES"] = [
            f"n{number}:127.0.0.1:{number}" for number in range(1, nodes + 1)
        ]
        app.config["MSM_REPLICAS"] = replicas
        # No thread: a test that wants probes calls for them.
        app.config["MSM_PROBE_INTERVAL"] = 0
    app.config.update(config)
    clock = clock or FakeClock()
    manager = manager or FakeManager(clock=clock)
    manager.init_app(app)

    if setup is not None:
        setup(app)

    @app.get("/", defaults={"path": ""})
    @app.get("/<path:path>")
    def view(path):
        action = request.environ.get("test.action")
        answer = action() if action else None
        return answer if isinstance(answer, str | Response) else "ok"

    return Handle(app, manager, clock)


def deletes_cookie(response) -> bool:
    """Return whether *response* deletes the session cookie."""
    lines = response.headers.getlist("Set-Cookie")
    return any("Max-Age=0" in line for line in lines)


def set_cookie(response) -> str | None:
    """Return the session cookie that *response* sets, ``None`` without one."""
    for line in response.headers.getlist("Set-Cookie"):
        value = line.partition(";")[0].partition("=")[2]
        if value:
            return value
    return None


@contextmanager
def receiving(signal):
    """Collect what *signal* sends."""
    received = []

    def receive(sender, **values):
        received.append((sender, values))

    with signal.connected_to(receive):
        yield received
