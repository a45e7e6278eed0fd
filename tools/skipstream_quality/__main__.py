import sys

from skipstream_quality.cli import main

sys.exit(main())
