"""python limited.py MEBIBYTES FOLDER: tries to convert every file of the folder in turn, with that
much memory beyond what the program itself takes.

Prints one JSON object: per file the error (null: it converted) and the seconds it took. Anything
but the tool's own error ends the program.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))

from skipstream_convert.checkpoint import convert, mapped
from skipstream_convert.conversion import Options
from skipstream_convert.errors import ConvertError


def limit_memory(mebibytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (mebibytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def attempt(path: Path) -> str | None:
    options = Options(preconditioning="EDMPrecond" if "edm" not in path.name else None)
    try:
        with mapped(path) as data:
            for tensor in convert(data, "auto", options).tensors.values():
                tensor.values()
    except ConvertError as error:
        return str(error)
    return None


def main() -> None:
    limit_memory(int(sys.argv[1]))
    results = {}
    for path in sorted(Path(sys.argv[2]).iterdir()):
        start = time.monotonic()
        error = attempt(path)
        results[path.name] = (error, time.monotonic() - start)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
