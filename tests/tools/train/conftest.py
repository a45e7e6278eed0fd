"""Makes PyTorch importable for these tests; the rest of the suite does without."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TORCH = ROOT / ".deps" / "torch"

# Fetches it where it is missing; `./dev setup` does not, for only training needs it.
subprocess.run([sys.executable, ROOT / "tools/dev/torch_python.py", TORCH], check=True)
# At the end: what .venv has is not replaced. `helpers` is beside this file, `harness` in tests/e2e.
sys.path += [str(TORCH), str(Path(__file__).parent), str(ROOT / "tests" / "e2e")]
