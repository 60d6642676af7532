"""The example shop, started as a user starts it: real processes, real HTTP."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.demo import STOP_LIMIT, Launched, launched

from flask_msm.testing.memcached import wait_until


needs_memcached = pytest.mark.skipif(
    shutil.which("memcached") is None, reason="the memcached binary is not installed"
)
needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="processes are read from /proc"
)


class Visitor:
    """A browser: keeps cookies, fills forms, opens a new connection for every request."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.headers["Connection"] = "close"
        self.http.trust_env = False

    def get(self, path: str) -> str:
        response = self.http.get(self.url + path, timeout=60)
        assert response.status_code == 200
        return response.text

    def post(self, path: str, page: str, **fields: object) -> str:
        token = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        response = self.http.post(self.url + path, data={"csrf": token, **fields}, timeout=60)
        assert response.status_code == 200
        return response.text

    def sign_in(self, name: str) -> str:
        return self.post("/sign-in", self.get("/sign-in"), name=name)

    def add(self, *skus: str) -> None:
        page = self.get("/")
        for sku in skus:
            page = self.post("/cart/add", page, sku=sku)


def family(pid: int) -> set[int]:
    """Return *pid* and everything it started, and what those started."""
    children: dict[int, set[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), set()).add(int(stat.parent.name))
    found, new = {pid}, {pid}
    while new:
        new = set().union(*(children.get(parent, set()) for parent in new)) - found
        found |= new
    return found


def is_running(pid: int) -> bool:
    """Tell whether *pid* runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def running(pids: set[int]) -> set[int]:
    return {pid for pid in pids if is_running(pid)}


def shows(page: str, *, name: str, things: int) -> bool:
    return f'<span class="name">{name}</span>' in page and f'<span class="count">{things}<' in page


def worker_of(page: str) -> int:
    return int(re.search(r'id="worker">(\d+)<', page)[1])


@pytest.mark.memcached
@needs_memcached
def test_the_dashboard_shows_all_workers_of_a_shop_that_just_opened_and_misses_none(
    tmp_path: Path,
) -> None:
    with launched(tmp_path, "--nodes", "2", "--workers", "3") as shop:
        admin = {"auth": ("ops", shop.password), "timeout": 60}
        pages = []

        def all_are_seen() -> bool:
            pages.append(requests.get(f"{shop.url}/msm-admin/", **admin).text)
            return "3 of 3 reporting" in pages[-1]

        # None of them has served a visitor.
        wait_until(all_are_seen, "all workers are seen")

    assert [page for page in pages if "workers visible" in page] == []


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    with launched(tmp_path_factory.mktemp("shop")) as started:
        yield started


@pytest.mark.memcached
@needs_memcached
class TestShop:
    def test_sign_in_changes_the_cookie_and_keeps_the_cart(self, shop: Launched) -> None:
        """What was seen of the old cookie is worth nothing after signing in."""
        visitor = Visitor(shop.url)
        visitor.add("lantern")
        before = visitor.http.cookies["keep_session"]

        page = visitor.sign_in("Berta")

        assert shows(page, name="Berta", things=1)
        assert visitor.http.cookies["keep_session"].split(".")[0] != before.split(".")[0]
        stranger = Visitor(shop.url)
        stranger.http.cookies.set("keep_session", before)
        assert "Berta" not in stranger.get("/cart")

    def test_a_name_cannot_break_the_page(self, shop: Launched) -> None:
        """Markup in a name is text, and a blank name is not one."""
        visitor = Visitor(shop.url)

        page = visitor.sign_in("  <b>Dora</b>  ")
        assert "&lt;b&gt;Dora&lt;/b&gt;" in page
        assert "<b>" not in page
        assert "A name is needed" in Visitor(shop.url).sign_in("   ")

    def test_the_session_page_names_the_nodes(self, shop: Launched) -> None:
        """Two nodes hold the session, and the page says which."""
        visitor = Visitor(shop.url)
        assert "Nowhere yet" in visitor.get("/session")
        visitor.sign_in("Emil")

        # The copy of the host is made behind the response.
        copied = "So does the local storage of this server"
        wait_until(lambda: copied in visitor.get("/session"), "the copy of the host")
        page = visitor.get("/session")

        assert page.count("Holds a copy") == 2
        assert page.count("No copy") == 1
        assert re.search(r"<h2>In n\d and n\d</h2>\s*<p>2 nodes hold a copy", page)
        assert "Home 1 of this session" in page
        assert "Home 2 of this session" in page
        assert re.search(r"<dt>Mode</dt><dd>distributed</dd>", page)
        assert re.search(r"<dt>Size</dt><dd>\d+ bytes</dd>", page)
        assert '<td class="mono">name</td><td class="mono">str</td>' in page

    @pytest.mark.parametrize(
        ("path", "fields", "status"),
        [
            ("/cart/add", {"csrf": "wrong", "sku": "mug"}, 400),
            ("/cart/add", {"csrf": "ä", "sku": "mug"}, 400),
            ("/cart/add", {"sku": "mug"}, 400),
            ("/sign-out", {}, 400),
            ("/cart/add", {"csrf": None, "sku": "unknown"}, 404),
            ("/cart/change", {"csrf": None, "sku": "mug", "quantity": "-1"}, 400),
            ("/cart/change", {"csrf": None, "sku": "mug", "quantity": "9" * 5000}, 400),
            ("/cart/change", {"csrf": None, "sku": "mug"}, 400),
        ],
    )
    def test_bad_forms_are_refused(
        self, shop: Launched, path: str, fields: dict[str, str | None], status: int
    ) -> None:
        """A form without the token of its session, or with nonsense in it, changes nothing."""
        visitor = Visitor(shop.url)
        token = re.search(r'name="csrf" value="([^"]+)"', visitor.get("/"))[1]
        filled = {name: token if value is None else value for name, value in fields.items()}

        response = visitor.http.post(shop.url + path, data=filled, timeout=60)

        assert response.status_code == status
        assert 'class="count"' not in visitor.get("/cart")

    def test_the_launcher_prints_nothing_while_all_is_well(self, shop: Launched) -> None:
        """After the greeting the terminal stays quiet."""
        Visitor(shop.url).sign_in("Fred")

        assert shop.text.rstrip().endswith("Ctrl-C closes the shop and ends all of this.")
        assert shop.text.startswith("The shop is open: http://127.0.0.1:")

    def test_a_lock_in_the_session_is_named_on_the_page_that_fails(self, shop: Launched) -> None:
        """The failure policy is ``raise`` at first."""
        visitor = Visitor(shop.url)
        visitor.sign_in("Anna")
        token = re.search(r'name="csrf" value="([^"]+)"', visitor.get("/break"))[1]

        answer = visitor.http.post(f"{shop.url}/break/session", data={"csrf": token}, timeout=60)

        assert answer.status_code == 500
        assert "&#39;lock&#39; (_thread.lock)" in answer.text
        assert "Anna" in visitor.get("/cart")

    def test_a_node_is_broken_and_mended_on_a_page_and_the_dashboard_shows_it(
        self, shop: Launched
    ) -> None:
        """What a newcomer does first: kill a node in one window, look in two others."""
        visitor = Visitor(shop.url)
        visitor.sign_in("Anna")
        visitor.add("mug")
        operator = requests.Session()
        operator.trust_env = False
        operator.auth = ("ops", shop.password)
        dashboard = f"{shop.url}/msm-admin/"

        def state(node_id: str) -> str:
            document = operator.get(f"{dashboard}api/v1/state", timeout=60).json()
            return next(node["state"] for node in document["nodes"] if node["id"] == node_id)

        assert requests.get(dashboard, timeout=60).status_code == 401
        assert operator.get(dashboard, timeout=60).status_code == 200
        wait_until(lambda: state("n1") == "up", "the node to be up")

        page = visitor.post("/break/n1/kill", visitor.get("/break"))
        assert "n1 was killed" in page
        assert "Start it again" in page
        wait_until(lambda: state("n1") == "down", "the node to be down")
        assert shows(visitor.get("/cart"), name="Anna", things=1)

        page = visitor.post("/break/n1/restart", page)
        assert "n1 is started again" in page
        assert "Start it again" not in page
        wait_until(lambda: state("n1") == "up", "the node to be up")
        assert shows(visitor.get("/cart"), name="Anna", things=1)
        assert "n1 is up again" in shop.text

        assert visitor.get("/break").count("Let it hang") == 3
        visitor.post("/break/n2/hang", visitor.get("/break"))
        page = visitor.get("/break")
        assert page.count("This node hangs.") == page.count("Let it go on") == 1
        assert shows(visitor.get("/cart"), name="Anna", things=1)
        visitor.post("/break/n2/go-on", page)
        wait_until(lambda: "This node hangs." not in visitor.get("/break"), "the node to go on")

    def test_a_click_on_a_page_that_another_window_made_old_says_what_is_the_case(
        self, shop: Launched
    ) -> None:
        """Nothing is done then: a wish to start it, kept, would undo the next end at once."""
        visitor = Visitor(shop.url)
        page = visitor.get("/break")

        assert "n3 was killed" in visitor.post("/break/n3/kill", page)
        for what in ("kill", "hang", "go-on"):
            assert "n3 has ended already" in visitor.post(f"/break/n3/{what}", page)
        assert "n3 is started again" in visitor.post("/break/n3/restart", page)
        assert "n3 runs already" in visitor.post("/break/n3/restart", page)
        assert "This node has ended" in visitor.post("/break/n3/kill", page)
        assert shop.text.count("n3 is up again") == 1
        visitor.post("/break/n3/restart", page)


@pytest.mark.memcached
@needs_memcached
@needs_proc
class TestLauncher:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
    def test_ends_everything_when_asked_to(self, tmp_path: Path, number: signal.Signals) -> None:
        """After Ctrl-C or a signal nothing that was started is left, and that is a success."""
        with launched(tmp_path, "--workers", "1") as shop:
            everyone = family(shop.process.pid)
            assert {*shop.node_pids.values(), shop.gunicorn_pid} < everyone
            assert len(shop.node_pids) == 3
            Visitor(shop.url).sign_in("Anna")

            shop.process.send_signal(number)

            assert shop.process.wait(STOP_LIMIT) == 0
            assert not running(everyone)

    def test_leaves_nothing_behind_when_killed(self, tmp_path: Path) -> None:
        """A launcher that cannot clean up any more still takes its children with it."""
        with launched(tmp_path, "--workers", "1") as shop:
            everyone = family(shop.process.pid)

            shop.process.kill()

            wait_until(lambda: not running(everyone), "all processes to end")

    def test_ends_everything_when_gunicorn_dies(self, tmp_path: Path) -> None:
        """Nodes and workers without a server are of no use: the exit status is not 0."""
        with launched(tmp_path, "--workers", "1") as shop:
            everyone = family(shop.process.pid)

            os.kill(shop.gunicorn_pid, signal.SIGKILL)

            assert shop.process.wait(STOP_LIMIT) == 1
            assert "gunicorn ended" in shop.text
            assert not running(everyone)

    def test_ends_everything_when_the_shop_does_not_start(self, tmp_path: Path) -> None:
        """Nodes that were started for a server that fails end with it."""
        broken = tmp_path / "gunicorn"
        broken.mkdir()
        (broken / "__init__.py").touch()
        (broken / "__main__.py").write_text("raise SystemExit(7)\n")

        with launched(tmp_path, environ={"PYTHONPATH": str(tmp_path)}, opens=False) as shop:
            assert shop.process.wait(STOP_LIMIT) == 1
            assert "gunicorn ended while it was starting (exit status 7)" in shop.text

    def test_goes_on_when_a_node_ends(self, tmp_path: Path) -> None:
        """The visitor notices nothing; the terminal names the node, once."""
        with launched(tmp_path, "--workers", "1") as shop:
            visitor = Visitor(shop.url)
            visitor.sign_in("Anna")
            visitor.add("basket", "blanket")
            home = re.search(r"<dt>Home nodes</dt><dd>(n\d+)", visitor.get("/session"))[1]

            os.kill(shop.node_pids[home], signal.SIGTERM)
            wait_until(
                lambda: f"{home} (pid {shop.node_pids[home]}) has ended" in shop.text,
                "its end to be printed",
            )

            for _ in range(10):
                assert shows(visitor.get("/cart"), name="Anna", things=2)
            visitor.add("mug")
            assert shows(visitor.get("/cart"), name="Anna", things=3)
            page = visitor.get("/session")
            assert page.count("This node has ended") == 1
            assert page.count("Holds a copy") == 2
            assert shop.text.count("has ended") == 1
            shop.process.terminate()
            assert shop.process.wait(STOP_LIMIT) == 0

    def test_says_so_when_its_port_is_taken(self, tmp_path: Path) -> None:
        """A port that was asked for is that one or none."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]

            with launched(tmp_path, port=taken, opens=False) as shop:
                assert shop.process.wait(STOP_LIMIT) == 1
                assert f"Cannot listen on 127.0.0.1:{taken}" in shop.text


@needs_proc
def test_works_without_memcached(tmp_path: Path) -> None:
    """All workers share local storage, and the launcher says why."""
    with launched(tmp_path, "--workers", "2", environ={"PATH": str(tmp_path)}) as shop:
        everyone = family(shop.process.pid)
        assert "memcached is not installed: 2 workers" in shop.text
        assert len(everyone) == 4
        visitor = Visitor(shop.url)
        visitor.sign_in("Anna")
        visitor.add("mug", "mug")

        for _ in range(20):
            assert shows(visitor.get("/cart"), name="Anna", things=2)
        assert "local storage" in visitor.get("/session")

        shop.process.send_signal(signal.SIGINT)
        assert shop.process.wait(STOP_LIMIT) == 0
        assert not running(everyone)


def test_the_command_line_is_checked(tmp_path: Path) -> None:
    """Numbers that make no sense are refused before anything starts."""
    with launched(tmp_path, "--nodes", "-1", opens=False) as shop:
        assert shop.process.wait(STOP_LIMIT) == 2
        assert "'-1' is not a number from 0 to 64" in shop.text


@pytest.mark.memcached
@needs_memcached
def test_with_two_hosts_a_browser_stays_with_one_and_the_other_counts_on_when_that_ends(
    tmp_path: Path,
) -> None:
    with launched(tmp_path, module="example_app.two_hosts", port=None) as hosts:
        visitor = Visitor(hosts.url)
        shown = [visitor.get("") for _ in range(4)]
        first = shown[0].split()[-1]
        assert shown == [f"{n} visits, served by {first}\n" for n in range(1, 5)]

        os.kill(int(re.search(rf"{first}: gunicorn, pid (\d+)", hosts.text)[1]), signal.SIGTERM)
        other = "south" if first == "north" else "north"
        after = [visitor.get("")]
        wait_until(lambda: after.append(visitor.get("")) or other in after[-1], "it has ended")
        wait_until(
            lambda: f"{first} has ended. Hosts left: {other}." in hosts.text, "the launcher says so"
        )

    assert [int(answer.split()[0]) for answer in after] == list(range(5, 5 + len(after)))
