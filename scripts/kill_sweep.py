"""Kill a sweep at random moments, take it up again, and compare with one left alone.

    python scripts/kill_sweep.py --seconds 60 +sweep=quick

The words are for maf-run -m. Ends with 0 if both tables are the same to the last digit.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAF_RUN = [sys.executable, "-P", "-m", "maf_runner", "-m"]
MAF_TABLE = [sys.executable, "-P", "-m", "maf_runner.commands.table", "--format", "csv"]


def main() -> int:
    """Run the sweep twice, once with kills; return 0 if the tables agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60, help="at most, before each kill")
    parser.add_argument("--alone", type=Path, help="results of the sweep left alone, if there")
    options, words = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        killed = [*MAF_RUN, *words, f"paths.results_dir={folder}/killed"]
        for _ in range(options.kills):
            process = subprocess.Popen(killed, start_new_session=True)
            time.sleep(random.uniform(0, options.seconds))
            os.killpg(process.pid, signal.SIGKILL)  # the jobs of other processes too
            process.wait()
        subprocess.run(killed, check=True)
        alone = options.alone or Path(folder, "alone")
        if not options.alone:
            subprocess.run([*MAF_RUN, *words, f"paths.results_dir={alone}"], check=True)
        tables = [
            subprocess.run(
                [*MAF_TABLE, "--results", where], capture_output=True, check=True
            ).stdout
            for where in (alone, Path(folder, "killed"))
        ]
    print(tables[1].decode())
    return int(tables[0] != tables[1])


if __name__ == "__main__":
    sys.exit(main())
