import sys

from skipstream_train.cli import main

sys.exit(main())
