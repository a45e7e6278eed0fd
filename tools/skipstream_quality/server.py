"""A server process of one's own, on a free port of this machine."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skipstream_quality.errors import QualityError

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_BINARY = (
    ROOT / os.environ.get("SKIPSTREAM_BUILD_DIR", "build/release") / "bin" / "skipstream-server"
)
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0


@contextmanager
def own_server(binary: Path, model: str, flags: Sequence[str] = ()) -> Iterator[str]:
    """Runs `binary` with one model (a name or a file); yields HOST:PORT and stops it afterwards."""
    if not os.access(binary, os.X_OK):
        raise QualityError(f"{binary} is no program: ./dev build makes it; or give --address")
    command = [str(binary), "--listen=127.0.0.1:0", f"--model={model}", *flags]
    if not any(flag.startswith("--metrics_listen=") for flag in flags):
        command.append("--metrics_listen=127.0.0.1:0")
    with tempfile.TemporaryFile() as log:
        # Its own session: Ctrl-C is for us, and we cancel our calls before it ends.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            # Shorter than the server's default; a flag overrides it.
            env={"SKIPSTREAM_WARMUP_BUDGET": "2", **os.environ},
        )
        try:
            address = _address(process)
            if address is None:
                process.kill()
                process.wait()
                log.seek(0)
                tail = log.read()[-2000:].decode(errors="replace")
                raise QualityError(f"the server did not start:\n{tail}")
            yield address
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[str]) -> str | None:
    """Address in the first line on stdout; None if there is none in it, or no line in time."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    try:
        match = re.fullmatch(r"listening on (\S+)\n", lines.get(timeout=_START_SECONDS))
    except queue.Empty:
        return None
    return match[1] if match else None
