"""Copy the finished records of a results folder to results/records/, to be kept under git.

    python scripts/keep_records.py results

Small files: settings and figures, with the learning curve beside them; no models. Test rows, which
the t-test of the tables and mixtures need, only with --rows: MNIST has 40 kB of them, POWER
800 kB. With --rows validation rows too, where they take at most 256 kB.
"""

import argparse
import shutil
import sys
from pathlib import Path

from maf_runner.records.folder import run_folders
from maf_runner.records.record import Record, UnreadableRecordError

SMALL = 256 << 10  # bytes of validation rows, at most


def main() -> None:
    """Copy record.json of every finished run, and what is kept beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="a results folder with runs/ in it")
    parser.add_argument("--to", type=Path, default=Path("results/records"))
    parser.add_argument("--rows", action="store_true", help="test and validation rows too")
    options = parser.parse_args()
    for folder in run_folders(options.results):
        try:
            record = Record.read(folder.record)
        except UnreadableRecordError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        if not record.finished:
            continue
        target = options.to / "/".join(folder.path.parts[-3:-1])
        target.mkdir(parents=True, exist_ok=True)
        kept = {folder.record: ".json", folder.history: ".csv"}
        if options.rows:
            kept[folder.test_nats] = ".npy"
            if folder.validation_nats.exists() and folder.validation_nats.stat().st_size <= SMALL:
                kept[folder.validation_nats] = ".validation.npy"
        for file, ending in kept.items():
            if file.exists():
                shutil.copy(file, target / f"{record.run_id}{ending}")
        print(target / f"{record.run_id}.json")


if __name__ == "__main__":
    main()
