"""Runs clang-tidy over the given sources, each only when something it depends on has changed.

A clean result is remembered under BUILD/clang-tidy by a hash of the source, the project headers it
includes (directly or not), its compile command, .clang-tidy and the version of clang-tidy. Headers
of installed packages are not in the hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]', re.MULTILINE)


class Checker:
    """Checks one source at a time; `check` may be called from several threads."""

    def __init__(self, build: Path, program: str) -> None:
        self._build = build
        self._program = program
        commands = json.loads((build / "compile_commands.json").read_text())
        self._commands = {
            Path(entry["directory"], entry["file"]).resolve(): entry["command"]
            for entry in commands
        }
        # The warnings in the compile commands are the compiler's to judge. Its headers come last,
        # for what clang does not bring (omp.h).
        compiler_headers = ["c++", "-print-file-name=include"]
        headers = subprocess.run(
            compiler_headers, capture_output=True, check=True, text=True
        ).stdout
        self._extra_arguments = [
            "--extra-arg=-Wno-error",
            f"--extra-arg=-idirafter{headers.strip()}",
        ]
        version = subprocess.run([program, "--version"], capture_output=True, check=True).stdout
        self._common = version + (ROOT / ".clang-tidy").read_bytes()
        self._clean = build / "clang-tidy"
        self._clean.mkdir(exist_ok=True)

    def check(self, source: Path) -> str:
        """Returns what clang-tidy found in `source`, empty if nothing."""
        command = self._commands.get(source)
        if command is None:
            return f"{source.relative_to(ROOT)}: no CMake target compiles it\n"
        mark = self._clean / self._hash(source, command)
        if mark.exists():
            return ""
        result = subprocess.run(
            [self._program, "--quiet", "-p", self._build, *self._extra_arguments, source],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if result.returncode == 0:
            mark.touch()
            return ""
        return result.stdout + (result.stderr if not result.stdout else "")

    def _hash(self, source: Path, command: str) -> str:
        digest = hashlib.sha256(self._common + command.encode())
        for path in sorted(self._closure(source)):
            digest.update(f"\0{path}\0".encode() + path.read_bytes())
        return digest.hexdigest()

    def _closure(self, source: Path) -> set[Path]:
        seen: set[Path] = set()
        queue = [source]
        while queue:
            path = queue.pop()
            if path not in seen:
                seen.add(path)
                queue.extend(self._includes(path))
        return seen

    @cache  # noqa: B019 (one Checker lives as long as the process)
    def _includes(self, path: Path) -> tuple[Path, ...]:
        places = (ROOT, path.parent, self._build / "generated")
        names = INCLUDE.findall(path.read_text(errors="replace"))
        found = (next((p / n for p in places if (p / n).is_file()), None) for n in names)
        return tuple(header.resolve() for header in found if header is not None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True, help="folder of compile_commands.json")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("sources", type=Path, nargs="+")
    args = parser.parse_args()

    checker = Checker(args.build.resolve(), str(Path(sys.executable).parent / "clang-tidy"))
    failed = 0
    with ThreadPoolExecutor(args.jobs) as pool:
        for findings in pool.map(checker.check, (source.resolve() for source in args.sources)):
            if findings:
                failed += 1
                print(findings, end="", flush=True)
    print(f"clang-tidy: {len(args.sources)} files, {failed} with findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
