"""``python -m maf_runner`` is ``maf-run``: also from a plain checkout."""

import sys

from maf_runner.cli import main

sys.exit(main())
