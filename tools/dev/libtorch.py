"""Unpacks LibTorch from its PyPI wheels into a folder of this project.

Only what a C++ program needs is kept: headers, the libraries, CMake files and licences. The result
is put in place by one rename, with a stamp of the pinned files; a complete one is left alone.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
STAMP = ".complete"

# Wheel members to keep. `*` also matches "/".
COMMON = [
    "*.dist-info/METADATA",
    "*.dist-info/licenses/*",
    "nvidia/*/lib/*.so*",
    "torch/include/*",
    "torch/share/cmake/*",
]
CPU_LIBRARIES = ["libtorch_cpu.so", "libc10.so", "libtorch.so", "libshm.so", "libgomp*"]
KEEP = {
    "cpu": [*COMMON, *(f"torch/lib/{name}" for name in CPU_LIBRARIES)],
    "cuda": [*COMMON, "torch/lib/*.so*"],
}


def stamp_of(requirements: Path, variant: str) -> str:
    return hashlib.sha256(requirements.read_bytes() + repr(KEEP[variant]).encode()).hexdigest()


def download(requirements: Path, wheels: Path, scratch: Path) -> None:
    """Fetches the pinned wheels with a private pip: Debian's Python has none.

    The target Python is named, so the wheel is the same whatever Python runs this.
    """
    venv.create(scratch / "venv", with_pip=True, symlinks=True)
    subprocess.run(
        [
            *(scratch / "venv/bin/pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-cache-dir", "--no-deps", "--only-binary=:all:", "--require-hashes"),
            *("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"),
            *("--abi", "none", "--dest", wheels, "--requirement", requirements),
        ],
        check=True,
    )


def unpack(wheels: Path, target: Path, variant: str) -> None:
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if any(fnmatch.fnmatchcase(name, pattern) for pattern in KEEP[variant]):
                    archive.extract(name, target)
        wheel.unlink()
    if not (target / "torch/lib/libtorch_cpu.so").is_file():
        raise RuntimeError("the torch wheel holds no libtorch_cpu.so")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path, help="folder to put torch/ and nvidia/ into")
    parser.add_argument("--variant", choices=sorted(KEEP), default="cpu")
    args = parser.parse_args()
    if platform.machine() != "x86_64" or platform.system() != "Linux":
        print("libtorch.py: the pinned LibTorch is for Linux on x86-64", file=sys.stderr)
        return 1

    requirements = HERE / f"libtorch-{args.variant}.txt"
    stamp = stamp_of(requirements, args.variant)
    target: Path = args.target
    if (target / STAMP).is_file() and (target / STAMP).read_text() == stamp:
        return 0

    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"Fetching LibTorch ({args.variant}) into {target} ...", flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".libtorch-") as folder:
        scratch = Path(folder)
        wheels = scratch / "wheels"
        wheels.mkdir()
        try:
            download(requirements, wheels, scratch)
        except subprocess.CalledProcessError:
            print("libtorch.py: the wheels could not be fetched (see above)", file=sys.stderr)
            return 1
        unpack(wheels, scratch / "new", args.variant)
        (scratch / "new" / STAMP).write_text(stamp)
        if target.exists():
            shutil.move(target, scratch / "old")
        (scratch / "new").rename(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
