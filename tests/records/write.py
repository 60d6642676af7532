"""Write down the records of this version, once for each release.

Usage: .venv/bin/python tests/records/write.py      before the version is tagged

``tests/contract/test_kept_records.py`` reads those of every release from then on.
"""

from __future__ import annotations

import sys
from pathlib import Path


sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from support.kept_records import WRITERS  # noqa: E402

from flask_msm.version import VERSION  # noqa: E402


folder = Path(__file__).parent / VERSION
if folder.exists():
    sys.exit(f"{folder} is there already: what was released is not written anew")
folder.mkdir()
for name, write in WRITERS.items():
    (folder / f"{name}.bin").write_bytes(write())
print(f"{len(WRITERS)} files in {folder}")
