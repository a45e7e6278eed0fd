import sys

from skipstream_tune.cli import main

sys.exit(main())
