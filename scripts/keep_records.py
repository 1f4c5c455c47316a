"""Copy the finished records of a results folder to results/records/, to be kept under git.

    python scripts/keep_records.py results

Small files: settings and figures, with the learning curve beside them; no models. Test rows, which
the t-test of the tables needs, only with --rows: MNIST has 40 kB of them, POWER 800 kB.
"""

import argparse
import shutil
from pathlib import Path

from maf_runner.records import record


def main() -> None:
    """Copy record.json of every finished run, and what is kept beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="a results folder with runs/ in it")
    parser.add_argument("--to", type=Path, default=Path("results/records"))
    parser.add_argument("--rows", action="store_true", help="test rows too")
    options = parser.parse_args()
    for path in sorted(options.results.glob(f"runs/*/*/*/{record.NAME}")):
        found = record.read(path)
        if found["status"] != "finished":
            continue
        target = options.to / "/".join(path.parts[-4:-2])
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / f"{found['run_id']}.json")
        for name in ("history.csv", *(["test_nats.npy"] if options.rows else [])):
            beside = path.with_name(name)
            if beside.exists():
                shutil.copy(beside, target / f"{found['run_id']}{beside.suffix}")
        print(target / f"{found['run_id']}.json")


if __name__ == "__main__":
    main()
