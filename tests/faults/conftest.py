import sys
from pathlib import Path

HERE = Path(__file__).parent
# harness, and soak, for the tests beside it.
sys.path[:0] = [str(HERE.parent / "e2e"), str(HERE)]
