import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # checkpoints and the other helpers beside it
