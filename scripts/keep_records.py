"""Copy the finished records of a results folder to results/records/, to be kept under git.

    python scripts/keep_records.py results

Small files: settings and figures, with the learning curve beside them; no models.
"""

import argparse
import shutil
from pathlib import Path

from maf_runner import record


def main() -> None:
    """Copy record.json and history.csv of every finished run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="a results folder with runs/ in it")
    parser.add_argument("--to", type=Path, default=Path("results/records"))
    options = parser.parse_args()
    for path in sorted(options.results.glob(f"runs/*/*/*/{record.NAME}")):
        found = record.read(path)
        if found["status"] != "finished":
            continue
        target = options.to / "/".join(path.parts[-4:-2])
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / f"{found['run_id']}.json")
        history = path.with_name("history.csv")
        if history.exists():
            shutil.copy(history, target / f"{found['run_id']}.csv")
        print(target / f"{found['run_id']}.json")


if __name__ == "__main__":
    main()
