#!/usr/bin/env python3
"""Compares the images of two servers: the same requests must give the same bytes.

usage: compare_builds.py SERVER_A SERVER_B

Starts both programs on loopback ports, once for each precision and for the reference kernels. Sends
requests over every solver, guidance, noise, init images and masks. Prints one line for each form,
and exits 1 if a byte differs.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import skipstream
from skipstream.options import RequestOptions, SolverName

# Reference kernels give the same bytes in batches of one size only.
FORMS = (
    ["--precision=float32"],
    ["--precision=bfloat16"],
    ["--kernels=reference", "--deterministic"],
)
LISTENING = re.compile(r"^listening on (\S+)$", re.MULTILINE)


def requests() -> list[skipstream.GenerateRequest]:
    """40 requests of a few images each, whose rows share batches."""
    made = []
    image = bytes((i * 37) % 256 for i in range(32 * 32 * 3))
    mask = bytes(255 if i % 32 < 20 else 0 for i in range(32 * 32))
    for index, solver in enumerate(get_args(SolverName)):
        nfe = 7 if solver in ("heun", "dpm2") else 6
        common: RequestOptions = {
            "solver": solver,
            "nfe": nfe,
            "format": "raw",
            "seeds": [index, index + 100, index + 200],
            "classes": [index, 3, 7],
        }
        kinds: list[RequestOptions] = [
            {"rho": 0.9},
            {"input_image": skipstream.InputImage(image, strength=0.7)},
            {"input_image": skipstream.InputImage(image, mask=mask, strength=0.9)},
        ]
        if solver != "consistency":
            kinds.append({"guidance": 2.0, "rho": 1.05})
        for kind in kinds:
            options = common.copy()
            options.update(kind)
            made.append(skipstream.make_request(**options))
    made.append(
        skipstream.make_request(nfe=9, churn=skipstream.Churn(5.0), seeds=[5], format="raw")
    )
    return made


def images(server: str, flags: list[str]) -> list[bytes]:
    """The pixels of all requests, sent side by side, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [
                    server,
                    "--listen=127.0.0.1:0",
                    "--metrics_listen=127.0.0.1:0",
                    "--warmup_budget=0.2",
                    *flags,
                ],
                stdout=out,
                stderr=out,
            )
        try:
            while not (found := LISTENING.search(log.read_text())):
                if process.poll() is not None:
                    raise SystemExit(log.read_text())
                time.sleep(0.05)
            with skipstream.Client(found[1]) as client, ThreadPoolExecutor(8) as threads:
                results = threads.map(client.generate, requests())
                return [image.data for result in results for image in result]
        finally:
            process.terminate()
            process.wait()


def main() -> int:
    first, second = sys.argv[1:]
    differs = False
    for flags in FORMS:
        a, b = images(first, flags), images(second, flags)
        different = sum(x != y for x, y in zip(a, b, strict=True))
        print(f"{' '.join(flags)}: {len(a)} images, {different} differ")
        differs = differs or different > 0
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
