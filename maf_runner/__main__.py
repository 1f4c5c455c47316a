"""``python -m maf_runner`` is ``maf-run``: also from a plain checkout."""

import sys

from maf_runner.commands.run import main

sys.exit(main())
