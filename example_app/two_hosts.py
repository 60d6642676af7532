"""Two hosts with sticky sessions, in one command: ``python -m example_app.two_hosts``.

A balancer sends a browser back to the host that served it before, whose memory and local storage
have its session. Two nodes have it as well: when that host ends, the other one goes on.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from flask import Flask, session

from drill.balancer import Rule, balancer
from example_app.extensions import msm
from example_app.processes import LaunchError, Signals, StopRequestedError, wait_until_ready
from harness.client import Client
from harness.memcached import Memcached, addresses
from harness.processes import HOST, bound, end, has_ended, port_of, start


HOSTS = ("north", "south")
# Times in seconds.
_START_LIMIT = 90.0
_STOP_PATIENCE = 6.0
_FOLDER = Path(__file__).absolute().parent


def create_app() -> Flask:
    """Build the application; ``FLASK_MSM_...`` in the environment are its settings."""
    app = Flask("two_hosts")
    app.config.from_prefixed_env()
    # As on two machines: workers of a host share local storage, hosts share nothing but nodes.
    app.config.update(MSM_STICKY=True, MSM_ADMIN=False)
    msm.init_app(app)

    @app.get("/")
    def count() -> str:
        session["visits"] = session.get("visits", 0) + 1
        return f"{session['visits']} visits, served by {app.config['MSM_ROUTE']}\n"

    @app.get("/up")
    def up() -> str:
        return "A worker answers.\n"

    return app


def main() -> int:
    """Run nodes, hosts and the balancer until Ctrl-C; return the exit status."""
    try:
        with Signals() as signals, ExitStack() as started:
            folder = Path(started.enter_context(TemporaryDirectory(prefix="flask_msm-hosts-")))
            nodes = [started.enter_context(Memcached("-m", "64")) for _ in range(3)]
            environ = {
                "FLASK_SECRET_KEY": secrets.token_urlsafe(32),
                "FLASK_MSM_NODES": addresses(nodes),
            }
            ports, hosts = dict[str, int](), dict[str, subprocess.Popen[bytes]]()
            for name in HOSTS:
                own = {"FLASK_MSM_ROUTE": name, "FLASK_MSM_LOCAL_DIR": str(folder / name)}
                (folder / name).mkdir(mode=0o700)
                ports[name], hosts[name] = _start_host(name, environ | own, signals, started)
            front = balancer(Rule(sites=ports, affinity=True), folder)
            started.callback(front.close)
            print(f"Open http://{HOST}:{front.port}/ and reload: one host serves you.")
            print("End that one in another terminal, and reload: the other one counts on.")
            print("\nCtrl-C ends all of this.", flush=True)
            while not signals.stop_requested:
                for name in [name for name, host in hosts.items() if has_ended(host)]:
                    del hosts[name]
                    left = ", ".join(hosts) or "none"
                    print(f"  {name} has ended. Hosts left: {left}.", flush=True)
                signals.pause()
    except StopRequestedError:
        return 0
    # What starts nodes and the balancer raises AssertionError.
    except (LaunchError, AssertionError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _start_host(
    name: str, environ: dict[str, str], signals: Signals, started: ExitStack
) -> tuple[int, subprocess.Popen[bytes]]:
    """Start the workers of a host; return their port, and the process that they end with."""
    listener = bound()
    listener.listen()
    port = port_of(listener)
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind"]
    command += [f"fd://{listener.fileno()}", "--config", str(_FOLDER / "gunicorn_settings.py")]
    command += ["--chdir", str(_FOLDER.parent), "example_app.two_hosts:create_app()"]
    host = start(command, shown=True, environ=environ, keep_open=[listener.fileno()])
    started.callback(end, host, patience=_STOP_PATIENCE)
    # Only the workers listen from here on: when they end, the balancer is refused.
    listener.close()

    def is_open() -> bool:
        try:
            return Client(limit=1.0).send(port, "/up").status == 200
        except OSError:
            return False

    wait_until_ready(host, is_open, name=name, limit=_START_LIMIT, signals=signals)
    print(f"  {name}: gunicorn, pid {host.pid}")
    return port, host


if __name__ == "__main__":
    sys.exit(main())
