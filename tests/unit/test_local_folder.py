"""The folder of local storage: of one user, of one key, and not made before it is needed."""

from __future__ import annotations

import os
import stat

import pytest
from flask import Flask, session
from support.storage import (
    KEY,
    KEYS,
    NAME,
    OTHER_KEYS,
    Host,
    adding,
    age,
    changing,
    load,
    record,
    save,
    values,
)

from flask_msm import MemcachedSessionManager
from flask_msm.record.keys import Keyring
from flask_msm.stores import folder
from flask_msm.stores.folder import FORSAKEN, folder_name, open_folder


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def base(tmp_path):
    return tmp_path / "local"


@pytest.fixture
def place(base, tmp_path):
    """Return the folder that is going to be made in *base*."""
    return base / open_folder(tmp_path / "model", NAME, KEYS).sessions.parent.name


def test_only_its_user_can_read_or_write_anything_in_it(base):
    old = os.umask(0)
    try:
        save(Host(base, alone=False).local, adding(record(1, a=b"1")))
    finally:
        os.umask(old)

    everything = list(base.rglob("*"))
    assert len(everything) > 5
    for path in everything:
        if path.is_dir():
            assert mode(path) == 0o700, path
        else:
            assert not mode(path) & 0o077, path


@pytest.mark.parametrize("part", ["", "sessions", "journal", "locks"])
def test_a_folder_that_others_may_read_is_not_used(base, place, part):
    (place / part).mkdir(mode=0o755, parents=True)
    host = Host(base)

    assert save(host.local, adding(record(1))).copies == 1

    assert host.shelf.place is None
    assert list((place / part).iterdir()) == []
    assert "others may read or write it" in host.troubles[0]
    assert "in the memory of each process" in host.troubles[0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_used(base, place):
    place.mkdir(mode=0o700, parents=True)
    os.chown(place, 12345, 12345)
    host = Host(base)

    assert host.shelf.place is None
    assert "another user" in host.troubles[0]


@pytest.mark.parametrize("part", ["", "sessions", "journal"])
def test_a_symbolic_link_is_not_followed(base, place, tmp_path, part):
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    link = place / part
    base.mkdir(mode=0o700)
    if part:
        place.mkdir(mode=0o700)
    link.symlink_to(target)
    host = Host(base)

    save(host.local, adding(record(1)))

    assert host.shelf.place is None
    assert "is not a folder" in host.troubles[0]
    assert list(target.iterdir()) == []


def test_a_file_where_the_folder_should_be_is_no_error(base):
    base.write_text("mine")

    host = Host(base)

    assert save(host.local, adding(record(1))).copies == 1
    assert base.read_text() == "mine"


def test_applications_with_other_keys_get_folders_of_their_own(base):
    mine, theirs = open_folder(base, NAME, KEYS), open_folder(base, NAME, OTHER_KEYS)

    assert mine.sessions != theirs.sessions
    assert open_folder(base, NAME, KEYS) == mine
    assert open_folder(base, NAME, OTHER_KEYS) == theirs


def test_a_folder_whose_secret_nobody_has_any_more_goes_in_time(base):
    forsaken = open_folder(base, NAME, OTHER_KEYS).sessions
    in_use = open_folder(base, NAME, Keyring(("third",))).sessions
    age(forsaken, FORSAKEN + 1)

    open_folder(base, NAME, KEYS)

    assert not forsaken.exists()
    assert in_use.exists()


def test_nothing_in_a_folder_tells_about_the_secret(base):
    place = open_folder(base, NAME, KEYS).sessions.parent

    names = [place.name, *(path.name for path in (place / "secrets").iterdir())]

    for name in names:
        assert "secret" not in name
        assert KEYS.current.secret.hex() not in name
        assert KEYS.current.id.hex() not in name


def test_a_rotation_of_keys_keeps_the_folder_and_what_is_in_it(base):
    save(Host(base).local, adding(record(1, a=b"1")))
    prepared, swapped = Keyring(("secret", "new")), Keyring(("new", "secret"))

    for keys in (prepared, swapped, prepared, swapped):
        assert values(load(Host(base).local, keys=keys)) == {"a": b"1"}

    # The last step: nobody has the former secret any more, and what was written since goes on.
    save(Host(base).local, changing(b=b"2"), keys=swapped)
    assert values(load(Host(base).local, keys=Keyring(("new",)))) == {"a": b"1", "b": b"2"}


def test_applications_that_differ_keep_their_sessions_apart():
    one = folder_name("msm:shop:", ["n1", "n2"], "/srv/shop")

    assert one == folder_name("msm:shop:", ["n2", "n1"], "/srv/shop")
    others = [
        folder_name("msm:blog:", ["n1", "n2"], "/srv/shop"),
        folder_name("msm:shop:", ["n1"], "/srv/shop"),
        folder_name("msm:shop:", ["n1", "n2"], "/srv/blog"),
        folder_name("msm:shop:n1", ["n2"], "/srv/shop"),
        folder_name("msm:shop:", [], "/srv/\udcff"),
    ]
    assert len({one, *others}) == 6


def test_without_a_choice_the_runtime_directory_is_taken(monkeypatch, tmp_path):
    tmp_path.chmod(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    assert (
        open_folder(None, NAME, KEYS).sessions.parent.parent
        == tmp_path / f"flask_msm-{os.getuid()}"
    )


def test_a_place_that_does_not_do_gives_way_to_the_next(monkeypatch, tmp_path):
    runtime, temporary = tmp_path / "runtime", tmp_path / "temporary"
    for place in (runtime, temporary):
        place.mkdir()
    (runtime / f"flask_msm-{os.getuid()}").symlink_to(temporary)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(folder, "_parents", _without_shm)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(temporary))

    assert open_folder(None, NAME, KEYS).sessions.is_relative_to(temporary)


def _without_shm(base, parents=folder._parents):
    return [path for path in parents(base) if not str(path).startswith("/dev/shm")]


# -- not before it is needed ---------------------------------------------------------------------


def application(base, **config):
    app = Flask("folder")
    app.config.update(SECRET_KEY="secret", MSM_LOCAL_CACHE="filesystem", MSM_LOCAL_DIR=str(base))
    app.config.update(TESTING=True, **config)
    app.add_url_rule("/", "index", lambda: "untouched")
    app.add_url_rule("/set", "set", lambda: session.update(a=1) or "set")
    MemcachedSessionManager(app)
    return app


@pytest.mark.parametrize("nodes", [{}, {"MSM_NODES": "127.0.0.1:1"}], ids=["alone", "cluster"])
def test_nothing_is_made_before_the_first_session_is_looked_at(base, nodes):
    client = application(base, **nodes).test_client()
    client.get("/")
    assert not base.exists()

    client.get("/set")

    assert base.exists()


@pytest.mark.parametrize("command", [["nodes"], ["status"], ["check"]])
def test_a_command_line_makes_no_folder(base, command):
    app = application(base, MSM_NODES="127.0.0.1:1")

    app.test_cli_runner().invoke(args=["msm", *command])

    assert not base.exists()


def test_what_one_process_stored_the_next_one_reads(base):
    save(Host(base).local, adding(record(1, a=b"1")), KEY)

    assert values(load(Host(base).local)) == {"a": b"1"}
