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
    load,
    record,
    save,
    values,
)

from flask_msm import MemcachedSessionManager
from flask_msm.record.keys import Keyring
from flask_msm.stores.folder import MOST_FOLDERS, folder_name, open_folder
from flask_msm.stores.ports import LocalStorageError


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def base(tmp_path):
    return tmp_path / "local"


def test_only_its_user_can_read_or_write_anything_in_it(base):
    old = os.umask(0)
    try:
        save(Host(base, alone=False).local, adding(record(1, a=b"1")))
    finally:
        os.umask(old)

    everything = [base, *base.rglob("*")]
    assert len(everything) > 6
    for path in everything:
        if path.is_dir():
            assert mode(path) == 0o700, path
        else:
            assert not mode(path) & 0o077, path


def test_a_folder_that_others_may_read_is_not_used(base):
    base.mkdir(mode=0o755)
    host = Host(base)

    assert save(host.local, adding(record(1))).copies == 1

    assert host.shelf.place is None
    assert list(base.iterdir()) == []
    assert "others may read or write it" in host.troubles[0]
    assert "in the memory of each process" in host.troubles[0]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_not_used(base):
    base.mkdir(mode=0o700)
    os.chown(base, 12345, 12345)
    host = Host(base)

    assert host.shelf.place is None
    assert "another user" in host.troubles[0]


@pytest.mark.parametrize("which", ["", NAME, f"{NAME}/sessions", f"{NAME}/journal"])
def test_a_symbolic_link_is_not_followed(base, tmp_path, which):
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    link = base / which if which else base
    link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    link.parent.chmod(0o700)
    if which:
        base.chmod(0o700)
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

    assert mine.sessions.parent.name == NAME
    assert theirs.sessions.parent.name == f"{NAME}-2"
    assert open_folder(base, NAME, KEYS) == mine
    assert open_folder(base, NAME, OTHER_KEYS) == theirs


def test_too_many_keys_are_an_error_and_not_a_wrong_folder(base):
    for number in range(MOST_FOLDERS):
        open_folder(base, NAME, Keyring((f"secret {number}",)))

    with pytest.raises(LocalStorageError, match="other secret keys"):
        open_folder(base, NAME, KEYS)


def test_the_key_of_a_folder_tells_nothing_about_the_secret(base):
    open_folder(base, NAME, KEYS)

    text = (base / NAME / "key").read_text()

    assert "secret" not in text
    assert KEYS.current.secret.hex() not in text
    assert KEYS.current.id.hex() not in text


def test_a_rotation_of_keys_keeps_the_folder_and_what_is_in_it(base):
    save(Host(base).local, adding(record(1, a=b"1")))
    prepared, swapped = Keyring(("secret", "new")), Keyring(("new", "secret"))

    for keys in (prepared, swapped, prepared, swapped):
        assert values(load(Host(base).local, keys=keys)) == {"a": b"1"}
    assert open_folder(base, NAME, Keyring(("new",))).sessions.parent.name == NAME


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

    folder = open_folder(None, NAME, KEYS)

    assert folder.sessions == tmp_path / f"flask_msm-{os.getuid()}" / NAME / "sessions"


def test_a_place_that_does_not_do_gives_way_to_the_next(monkeypatch, tmp_path):
    runtime, temporary = tmp_path / "runtime", tmp_path / "temporary"
    for place in (runtime, temporary):
        place.mkdir()
    (runtime / f"flask_msm-{os.getuid()}").symlink_to(temporary)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr("flask_msm.stores.folder._parents", _without_shm)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(temporary))

    folder = open_folder(None, NAME, KEYS)

    assert folder.sessions.is_relative_to(temporary)


def _without_shm(base, parents=__import__("flask_msm.stores.folder", fromlist=["_"])._parents):
    return [path for path in parents(base) if not str(path).startswith("/dev/shm")]


# -- not before it is needed ---------------------------------------------------------------------


def application(base, **config):
    app = Flask("folder")
    app.config.update(SECRET_KEY="secret", TESTING=True, MSM_LOCAL_DIR=str(base), **config)
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
