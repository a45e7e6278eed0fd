"""Puts PyTorch for Python into a folder of this project, to be named in PYTHONPATH.

tools/train needs it; the server does not. Where there is a GPU the wheels come with all CUDA
libraries (2.5 GB to download). Elsewhere only torch itself is fetched (0.5 GB): the wheel on PyPI
is linked against the CUDA libraries and cannot be imported without them, so stand-ins are compiled
here that have their names and their functions, each of which ends the program if it is ever
called. Nothing calls them where there is no GPU: PyTorch asks the driver first.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from libtorch import HERE, STAMP, download

VARIANTS = ("cpu", "cuda")
# Members that nothing here uses: headers and compilers.
LEFT_OUT = (
    *("torch/include/", "torch/share/"),
    *("torch/bin/protoc", "torch/bin/ptxas"),
)
# Loaded on the first CUDA matrix decomposition only.
LEFT_OUT_CPU = (*LEFT_OUT, "torch/lib/libtorch_cuda_linalg.so")

# Libraries that the stand-ins replace, with the prefix of their functions' names. A name belongs to
# the first library that fits.
STAND_INS = {
    "libcublasLt.so.13": "cublasLt",
    "libcublas.so.13": "cublas",
    "libcusparseLt.so.0": "cusparseLt",
    "libcusparse.so.12": "cusparse",
    "libcufft.so.12": "cufft",
    "libcurand.so.10": "curand",
    "libcudnn.so.9": "cudnn",
    "libnccl.so.2": "nccl",
    "libcufile.so.0": "cuFile",
    "libnvshmem_host.so.3": "nvshmem",
}


def has_gpu() -> bool:
    """True if the NVIDIA driver is loaded and shows this process a device."""
    return Path("/dev/nvidiactl").exists() and any(Path("/dev").glob("nvidia[0-9]*"))


def stamp_of(requirements: list[Path]) -> str:
    contents = [path.read_bytes() for path in [*requirements, Path(__file__)]]
    return hashlib.sha256(b"".join(contents) + sys.version.encode()).hexdigest()


def unpack(wheel: Path, target: Path, left_out: tuple[str, ...], existing: Path) -> None:
    """Members that `existing` holds already, the same to the bit, become hard links to it."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = member.filename
            if name.startswith(left_out) or member.is_dir():
                continue
            twin = existing / name
            # Worth it for the large ones only.
            if member.file_size > 1 << 24 and twin.is_file() and _checksum(twin) == member.CRC:
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(twin, target / name)
                    continue
                except OSError:
                    pass  # another file system: a copy it is
            archive.extract(member, target)


def _checksum(path: Path) -> int:
    crc = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def make_stand_ins(libraries: Path, destination: Path, scratch: Path) -> None:
    """Compiles libraries with every CUDA function that the ones in `libraries` leave undefined."""
    # Per library: the symbol version of each function, "" for none.
    wanted: dict[str, dict[str, str]] = {library: {} for library in STAND_INS}
    for file in sorted(libraries.glob("*.so")):
        symbols = subprocess.run(
            ["nm", "--dynamic", "--undefined-only", "--with-symbol-versions", file],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name, version in re.findall(r"\b[Uwv] ([A-Za-z]\w*)(?:@(\S+))?", symbols):
            for library, prefix in STAND_INS.items():
                if name.startswith(prefix):
                    wanted[library][name] = version
                    break
    destination.mkdir(parents=True, exist_ok=True)
    source, versions = scratch / "stand_in.c", scratch / "stand_in.map"
    for library, names in wanted.items():
        lines = ["#include <stdio.h>", "#include <stdlib.h>"]
        for name in sorted(names):
            message = f"{name}: {library} is not installed\\n"
            lines.append(f'void {name}(void) {{ fputs("{message}", stderr); abort(); }}')
        source.write_text("\n".join(lines))
        nodes = sorted(set(names.values()) - {""})
        versions.write_text(
            "".join(
                f"{node} {{ global: {' '.join(f'{n};' for n, v in names.items() if v == node)} }};"
                for node in nodes
            )
        )
        command: list[str | Path] = ["cc", "-shared", "-fPIC", "-O1", f"-Wl,-soname,{library}"]
        if nodes:
            command.append(f"-Wl,--version-script,{versions}")
        subprocess.run([*command, "-o", destination / library, source], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help="folder to put torch/ and the others into")
    parser.add_argument(
        "--variant", choices=VARIANTS, default="cuda" if has_gpu() else "cpu",
        help="default: cuda where there is a GPU",
    )  # fmt: skip
    args = parser.parse_args()

    requirements = [HERE / f"libtorch-{args.variant}.txt", HERE / "torch-python.txt"]
    stamp = stamp_of(requirements)
    target: Path = args.target
    if (target / STAMP).is_file() and (target / STAMP).read_text() == stamp:
        return 0

    target.parent.mkdir(parents=True, exist_ok=True)
    size = "2.5 GB" if args.variant == "cuda" else "0.5 GB"
    print(
        f"Fetching PyTorch ({args.variant}, {size}) into {target} ...", file=sys.stderr, flush=True
    )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".torch-") as folder:
        scratch = Path(folder)
        wheels, new = scratch / "wheels", scratch / "new"
        wheels.mkdir()
        joined = scratch / "requirements.txt"
        joined.write_text("".join(path.read_text() for path in requirements))
        try:
            download(joined, wheels, scratch)
        except subprocess.CalledProcessError:
            print("torch_python.py: the wheels could not be fetched (see above)", file=sys.stderr)
            return 1
        left_out = LEFT_OUT_CPU if args.variant == "cpu" else LEFT_OUT
        for wheel in sorted(wheels.glob("*.whl")):
            unpack(wheel, new, left_out, target.parent / "python")
            wheel.unlink()
        if args.variant == "cpu":
            make_stand_ins(new / "torch/lib", new / "nvidia/cu13/lib", scratch)
        (new / STAMP).write_text(stamp)
        if target.exists():
            shutil.move(target, scratch / "old")
        new.rename(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
