"""Writes or checks the golden data; see README.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from golden.cases import reference_files
from golden.files import differences, read, write

DATA = Path(__file__).resolve().parents[2] / "tests/data/golden"
DIFFUSERS_FILE = "diffusers.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m golden", description=__doc__)
    parser.add_argument("--out", type=Path, default=DATA, help="folder of the files")
    parser.add_argument(
        "--diffusers",
        action="store_true",
        help=f"make {DIFFUSERS_FILE} instead of the others; needs diffusers and torch",
    )
    parser.add_argument(
        "--check", action="store_true", help="compare with the files, write nothing"
    )
    arguments = parser.parse_args()

    if arguments.diffusers:
        # Imported here: nothing else needs diffusers.
        from golden.from_diffusers import diffusers_file

        files = {DIFFUSERS_FILE: diffusers_file()}
    else:
        files = reference_files()

    failed = False
    for name, content in files.items():
        path = arguments.out / name
        if arguments.check:
            found = differences(content, read(path))
            failed = failed or bool(found)
            print(f"{name}: {'; '.join(found[:5]) if found else 'as computed'}")
        else:
            write(path, content)
            print(f"{name}: {len(content['cases'])} cases, {path.stat().st_size} bytes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
