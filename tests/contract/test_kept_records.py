"""What a release has written, every later version reads; what a newer one wrote is left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.kept_records import (
    AFTERWARDS,
    AT,
    KEY,
    SID,
    SIGNER,
    STAMP,
    VALUES,
    WRITERS,
    expected,
    sealing,
    tombstone,
    values_of,
)
from support.sealing import KEYS

from flask_msm.errors import UnknownRecordError
from flask_msm.record.envelope import needs_of
from flask_msm.record.keys import digest_of
from flask_msm.record.segments import HASH_SIZE, signed
from flask_msm.record.token import Token
from flask_msm.storage.local.journal_frames import scan
from flask_msm.version import VERSION


RECORDS = Path(__file__).parents[1] / "records"
RELEASES = sorted(path.name for path in RECORDS.iterdir() if (path / "journal.bin").exists())
SEALED = sorted(
    str(path.relative_to(RECORDS)) for path in RECORDS.glob("*/format-*.bin") if path.is_file()
)
#: Where the number of the format, the kind, the flags and the codec stand in a record.
FORMAT, KIND, FLAGS, CODEC = 2, 3, 4, 5


def test_the_records_of_this_version_are_kept():
    assert {path.stem for path in (RECORDS / VERSION).iterdir()} == set(WRITERS)


@pytest.mark.parametrize("name", SEALED)
def test_a_record_of_a_release_is_read_as_what_was_written(name):
    data = (RECORDS / name).read_bytes()

    found = sealing(2, encrypts=True).open(data, KEY)

    assert found == expected(Path(name).stem)
    if "tombstone" in name:
        assert values_of(found) == {}
    else:
        values = AFTERWARDS if "changed" in name else VALUES
        assert values_of(found) == values | {"guess": "local"}


@pytest.mark.parametrize("release", RELEASES)
def test_the_journal_of_a_release_is_read_to_its_end(release):
    data = (RECORDS / release / "journal.bin").read_bytes()

    found = scan(data, final=True)

    assert (found.end, found.damaged) == (len(data), 0)
    assert {digest for digest, _ in found.places} == {digest_of(KEY)}
    parts = [data[place.at : place.at + place.size] for _, place in found.places]
    records = [sealing(1).open(part, KEY) for part in parts]
    assert records == [expected("format-1"), tombstone()._replace(ending=None)]


@pytest.mark.parametrize("release", RELEASES)
def test_cookies_of_a_release_are_taken(release):
    plain, routed = (RECORDS / release / "cookies.bin").read_text(encoding="ascii").split()

    SIGNER.known.clear()
    token = Token(SID, STAMP, int(AT), permanent=True, local=True)
    assert SIGNER.loads(plain) == token
    assert SIGNER.loads(routed) == token._replace(permanent=False)


@pytest.mark.parametrize(
    ("where", "value", "needs"),
    [
        (FORMAT, 3, "format:3"),
        (KIND, 3, "kind:3"),
        (FLAGS, 4, "flags:4"),
        (CODEC, 2, "codec:2"),
    ],
    ids=["format", "kind", "flag", "codec"],
)
@pytest.mark.parametrize("name", ["format-1", "format-2"])
def test_a_record_of_a_newer_version_is_refused_as_unknown_and_says_what_it_needs(
    name, where, value, needs
):
    data = bytearray((RECORDS / VERSION / f"{name}.bin").read_bytes()[:-HASH_SIZE])
    data[where] = value
    newer = signed(bytes(data), KEY, KEYS.current.secret)

    with pytest.raises(UnknownRecordError):
        sealing(2).open(newer, KEY)
    assert needs in needs_of(newer) - set(sealing(2).reads())


@pytest.mark.parametrize("name", ["format-1", "format-2"])
def test_an_encrypted_record_is_unknown_where_there_is_no_key(name):
    data = (RECORDS / VERSION / f"{name}-encrypted.bin").read_bytes()

    with pytest.raises(UnknownRecordError):
        sealing(2).open(data, KEY)
