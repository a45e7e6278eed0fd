#!/usr/bin/env python3
"""Generates the protobuf and gRPC code of the package from proto/.

    python client/python/generate.py [--out FOLDER]

Run it after every change of proto/ and commit the result; a test compares. Needs the grpcio-tools
version of tests/requirements.txt: other versions write other code.
"""

from __future__ import annotations

import argparse
import importlib.resources
import re
from pathlib import Path

from grpc_tools import protoc

PACKAGE = "skipstream._proto"
ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "proto"
DEFAULT_OUT = Path(__file__).resolve().parent / "src" / "skipstream" / "_proto"


def generate(out: Path) -> None:
    """Writes the code of every .proto file under `out`, importable as skipstream._proto."""
    protos = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))
    out.mkdir(parents=True, exist_ok=True)
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    arguments = [
        "protoc",
        f"--proto_path={SOURCES}",
        f"--proto_path={well_known}",
        f"--python_out={out}",
        f"--pyi_out={out}",
        f"--grpc_python_out={out}",
        *protos,
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed")
    # protoc imports by proto path ("from skipstream.v1 import x"); the code lives deeper.
    own_import = re.compile(r"^(from |import )(skipstream\.v1)\b", re.MULTILINE)
    for path in [p for p in out.rglob("*.py*") if p.suffix in (".py", ".pyi")]:
        path.write_text(own_import.sub(rf"\1{PACKAGE}.\2", path.read_text()))
    for folder in {out, *(out / Path(proto).parent for proto in protos), out / "skipstream"}:
        (folder / "__init__.py").touch()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="default: the package")
    generate(parser.parse_args().out)


if __name__ == "__main__":
    main()
