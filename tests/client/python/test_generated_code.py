"""The committed protobuf code is what proto/ gives."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = ROOT / "client" / "python" / "src" / "skipstream" / "_proto"


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.suffix in (".py", ".pyi")
    }


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    script = ROOT / "client" / "python" / "generate.py"
    subprocess.run([sys.executable, str(script), "--out", str(tmp_path)], check=True)
    fresh, committed = contents(tmp_path), contents(COMMITTED)
    assert fresh.keys() == committed.keys()
    stale = [name for name in fresh if fresh[name] != committed[name]]
    assert not stale, f"run `python {script.relative_to(ROOT)}` and commit: {stale}"
