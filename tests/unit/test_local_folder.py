"""The folder of local storage: of one user, of one key, and not made before it is needed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile

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
from flask_msm.storage.local import folder
from flask_msm.storage.local.folder import STALE_AFTER, folder_name, node_marks, open_folder
from flask_msm.storage.store import LocalStorageError


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


def test_a_place_that_cannot_be_looked_at_is_no_error(base):
    base.mkdir(mode=0o700)
    host = Host(base / ("x" * 300))

    assert save(host.local, adding(record(1))).copies == 1

    assert "File name too long" in host.troubles[0]
    assert "in the memory of each process" in host.troubles[0]


@pytest.mark.parametrize("part", [".", "sessions", "journal"])
def test_a_folder_that_is_removed_is_made_again_by_the_next_change(base, part):
    host = Host(base, alone=False)
    save(host.local, adding(record(1, a=b"1")))
    place = host.shelf.place
    shutil.rmtree(place / part)

    assert save(host.local, adding(record(2, b=b"2"))).copies == 1

    assert values(load(Host(base, alone=False).local))["b"] == b"2"
    assert host.local.is_dirty(KEY)
    assert (mode(place), mode(place / part)) == (0o700, 0o700)
    assert host.troubles == []


def test_a_folder_that_is_removed_is_made_again_by_the_upkeep(base):
    host = Host(base)
    shutil.rmtree(host.shelf.place)

    host.local.settle()

    assert (host.shelf.place / "sessions").is_dir()


def test_a_folder_is_not_made_again_where_another_user_may_write(base):
    host = Host(base)
    save(host.local, adding(record(1)))
    shutil.rmtree(base)
    base.mkdir()
    base.chmod(0o777)

    assert save(host.local, adding(record(1))).copies == 0


def test_applications_with_other_keys_get_folders_of_their_own(base):
    mine, theirs = open_folder(base, NAME, KEYS), open_folder(base, NAME, OTHER_KEYS)

    assert mine.sessions != theirs.sessions
    assert open_folder(base, NAME, KEYS) == mine
    assert open_folder(base, NAME, OTHER_KEYS) == theirs


def test_a_folder_of_a_former_secret_is_removed_in_time(base):
    forsaken = open_folder(base, NAME, OTHER_KEYS).sessions
    in_use = open_folder(base, NAME, Keyring(("third",))).sessions
    age(forsaken, STALE_AFTER + 1)

    open_folder(base, NAME, KEYS)

    assert not forsaken.exists()
    assert in_use.exists()


def test_the_secret_cannot_be_derived_from_a_folder(base):
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

    # The last step: no process has the former secret any more; newer records stay readable.
    save(Host(base).local, changing(b=b"2"), keys=swapped)
    assert values(load(Host(base).local, keys=Keyring(("new",)))) == {"a": b"1", "b": b"2"}


def opened_with(base, *nodes, keys=KEYS, prefix="msm:", root="/app"):
    name, marks = folder_name(prefix, nodes, root), node_marks(prefix, nodes, root)
    return open_folder(base, name, keys, marks=marks)


def test_a_node_that_is_added_or_replaced_keeps_the_folder_and_what_is_in_it(base):
    first = opened_with(base, "n1", "n2")

    assert opened_with(base, "n1", "n2", "n3") == first
    # Workers of both lists run side by side during a deploy.
    assert opened_with(base, "n1", "n2") == first
    # Nodes are replaced one after another, and the key is rotated meanwhile.
    assert opened_with(base, "n3", "n4", keys=Keyring(("third", "secret"))) == first
    assert opened_with(base, "n4", keys=Keyring(("third",))) == first


@pytest.mark.parametrize(
    "other",
    [{"keys": OTHER_KEYS}, {"prefix": "other:"}, {"root": "/other"}],
    ids=["secret", "prefix", "root"],
)
def test_a_node_in_common_is_no_reason_to_use_the_folder_of_another_application(base, other):
    assert opened_with(base, "n1") != opened_with(base, "n1", "n2", **other)


def test_a_folder_that_is_not_whole_is_made_whole_when_a_node_is_added(base):
    """Its worker died while it made it, or files of old age are removed."""
    before = opened_with(base, "n1")
    before.sessions.rmdir()

    assert opened_with(base, "n1", "n2") == before
    assert before.sessions.is_dir()


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


def test_no_temporary_directory_is_no_error(monkeypatch, tmp_path):
    """As in a container whose root is read-only."""

    def none():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    assert open_folder(None, NAME, KEYS).sessions.is_relative_to(tmp_path)


def test_a_place_that_does_not_do_gives_way_to_the_next(monkeypatch, tmp_path):
    runtime, temporary = tmp_path / "runtime", tmp_path / "temporary"
    for place in (runtime, temporary):
        place.mkdir()
    (runtime / f"flask_msm-{os.getuid()}").symlink_to(temporary)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(folder, "_parents", _without_shm)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(temporary))

    assert open_folder(None, NAME, KEYS).sessions.is_relative_to(temporary)


def _without_shm(parents=folder._parents):
    return [path for path in parents() if not str(path).startswith("/dev/shm")]


# -- what is above it ----------------------------------------------------------------------------

#: A user that is not the one who runs the tests.
STRANGER = 12345


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o722])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_folder_below_one_that_another_user_may_write_is_refused_with_the_reason(
    tmp_path, monkeypatch, mode, depth
):
    monkeypatch.setattr(folder, "_is_own_group", lambda _: False)
    above = tmp_path / "open"
    base = above.joinpath(*"ab"[:depth])
    base.mkdir(mode=0o700, parents=True)
    above.chmod(mode)
    host = Host(base)

    assert save(host.local, adding(record(1))).copies == 1

    assert host.shelf.place is None
    assert f"another user may write {above}" in host.troubles[0]
    assert "in the memory of each process" in host.troubles[0]


def test_a_group_that_only_this_user_is_in_is_no_other_user(tmp_path, monkeypatch):
    base = tmp_path / "mine"
    base.mkdir()
    base.chmod(0o775)
    monkeypatch.setattr(folder, "_is_own_group", lambda gid: gid == base.stat().st_gid)

    assert Host(base).shelf.place is not None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize(
    ("mode", "owner", "inner", "taken"),
    [
        (0o1777, 0, 0, True),
        (0o1777, 0, STRANGER, False),
        (0o1777, STRANGER, 0, False),
        (0o755, STRANGER, 0, False),
    ],
    ids=["sticky", "sticky, inner of another", "sticky of another", "of another"],
)
def test_a_sticky_folder_will_do_if_no_other_user_owns_it_or_what_is_in_it(
    tmp_path, mode, owner, inner, taken
):
    above = tmp_path / "shared"
    base = above / "local"
    base.mkdir(parents=True)
    base.chmod(0o755)
    above.chmod(mode)
    os.chown(base, inner, 0)
    os.chown(above, owner, 0)

    assert (Host(base).shelf.place is not None) is taken


def test_a_link_that_another_user_may_replace_is_refused(tmp_path):
    target, above = tmp_path / "target", tmp_path / "open"
    target.mkdir(mode=0o700)
    above.mkdir()
    above.chmod(0o777)
    (above / "link").symlink_to(target)
    host = Host(above / "link" / "local")

    assert host.shelf.place is None
    assert f"another user may write {above}" in host.troubles[0]


def test_a_link_to_where_another_user_may_write_is_refused(tmp_path):
    above = tmp_path / "open"
    (above / "inner").mkdir(parents=True)
    above.chmod(0o777)
    (tmp_path / "link").symlink_to(above / "inner")
    host = Host(tmp_path / "link")

    assert host.shelf.place is None
    assert f"another user may write {above}" in host.troubles[0]


def test_folders_that_are_made_on_the_way_are_of_this_user_alone(tmp_path):
    old = os.umask(0)
    try:
        host = Host(tmp_path / "a" / "b" / "c")
        assert host.shelf.place is not None
    finally:
        os.umask(old)

    assert [mode(tmp_path / part) for part in ("a", "a/b", "a/b/c")] == [0o700] * 3


# -- names that another user has taken -----------------------------------------------------------


@pytest.fixture
def taken(monkeypatch, tmp_path):
    """Return two places in which another user has taken the name of our folder."""
    places = [tmp_path / name for name in ("shm", "tmp")]
    parents = [place / "flask_msm-1" for place in places]
    for place, parent in zip(places, parents, strict=True):
        place.mkdir()
        place.chmod(0o1777)
        parent.mkdir(mode=0o700)
    monkeypatch.setattr(folder, "_parents", lambda: parents)
    monkeypatch.setattr(folder, "_is_taken", lambda parent: parent in parents)
    private = folder._private

    def not_theirs(path):
        if path in parents:
            raise PermissionError(0, "belongs to another user")
        private(path)

    monkeypatch.setattr(folder, "_private", not_theirs)
    return parents


def test_when_another_user_has_taken_all_names_one_with_random_letters_is_used_by_all(taken):
    one, other = (open_folder(None, NAME, KEYS).sessions for _ in range(2))

    assert one == other
    own = one.parent.parent
    assert own.parent == taken[0].parent
    assert own.name.startswith("flask_msm-1-")
    assert mode(own) == 0o700
    note = taken[0].with_name("flask_msm-1.name")
    assert mode(note) == 0o600
    assert note.read_text() == own.name
    assert sorted(path.name for path in own.parent.iterdir()) == sorted(
        [own.name, note.name, "flask_msm-1"]
    )


def test_a_folder_under_another_name_is_used_on_when_the_names_are_free_again(taken, monkeypatch):
    before = open_folder(None, NAME, KEYS).sessions
    monkeypatch.undo()
    monkeypatch.setattr(folder, "_parents", lambda: taken)

    assert open_folder(None, NAME, KEYS).sessions == before
    assert open_folder(None, NAME, KEYS, make=False).sessions == before


@pytest.mark.parametrize("content", [b"", b"../elsewhere", b"flask_msm-1-xyz", b"\xff" * 300])
def test_a_note_that_names_no_folder_of_ours_is_none(taken, content):
    for parent in taken:
        note = parent.with_name("flask_msm-1.name")
        note.write_bytes(content)
        note.chmod(0o600)
    host = Host()
    host.shelves._kind = "filesystem"

    assert host.shelf.place is None
    assert "belongs to another user" in host.troubles[0]
    assert "in the memory of each process" in host.troubles[0]


def test_a_note_that_others_may_write_is_none(taken):
    for parent in taken:
        note = parent.with_name("flask_msm-1.name")
        note.write_text("flask_msm-1-0123456789abcdef")
        note.chmod(0o644)

    with pytest.raises(LocalStorageError):
        open_folder(None, NAME, KEYS)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_note_of_another_user_is_none(taken):
    for parent in taken:
        note = parent.with_name("flask_msm-1.name")
        note.write_text("flask_msm-1-0123456789abcdef")
        note.chmod(0o600)
        os.chown(note, STRANGER, STRANGER)

    with pytest.raises(LocalStorageError):
        open_folder(None, NAME, KEYS)


def test_a_command_line_takes_no_other_name(taken):
    with pytest.raises(LocalStorageError):
        open_folder(None, NAME, KEYS, make=False)

    assert not taken[0].with_name("flask_msm-1.name").exists()


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
    app = application(base, **nodes)
    client = app.test_client()
    client.get("/")
    assert not base.exists()

    client.get("/set")
    app.extensions["msm"].close()

    assert base.exists()


@pytest.mark.parametrize("command", [["nodes"], ["status"], ["check"]])
def test_a_command_line_makes_no_folder(base, command):
    app = application(base, MSM_NODES="127.0.0.1:1")

    app.test_cli_runner().invoke(args=["msm", *command])

    assert not base.exists()


def test_a_session_stored_by_one_process_is_read_by_the_next_one(base):
    save(Host(base).local, adding(record(1, a=b"1")), KEY)

    assert values(load(Host(base).local)) == {"a": b"1"}
