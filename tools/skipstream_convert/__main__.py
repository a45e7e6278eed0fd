import sys

from skipstream_convert.cli import main

sys.exit(main())
