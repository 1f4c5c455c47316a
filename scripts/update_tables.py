"""Make results/reports/ and the README's comparison anew from the records in results/records/.

    python scripts/update_tables.py

Nothing there is typed by hand; a test holds both against the records.
"""

import argparse
import re
import sys
from pathlib import Path

from maf_runner.records import entries
from maf_runner.reporting.tables.grid import FORMATS
from maf_runner.reporting.tables.table import TABLES, Choice, build
from maf_runner.system import atomic

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- made by scripts/update_tables.py: begin -->"
END = "<!-- end -->"


def contents(root: Path) -> dict[Path, str]:
    """Each file that is made from the records, and what belongs in it."""
    found, complaints = entries.read(sorted((root / "results" / "records").glob("**/*.json")))
    made = {}
    blocks = []
    for name in TABLES:
        table, left_out = build(name, found)
        complaints += left_out
        for form in FORMATS if name == TABLES[0] else ("markdown",):
            made[root / "results" / "reports" / f"{name}.{FORMATS[form]}"] = table.render(form)
        if name in ("table1", "table2"):
            blocks.append(table.render("markdown"))
        if name == TABLES[0]:
            seeded = sorted({row["dataset"] for row in table.data if row["seeds"]})
            mixed, _ = build(name, found, Choice(seeded, mixtures=True))
            made[root / "results" / "reports" / "mixtures.md"] = mixed.render("markdown")
    for complaint in dict.fromkeys(complaints):
        print(complaint, file=sys.stderr)
    readme = root / "README.md"
    block = "\n".join([BEGIN, *blocks, END])
    pattern = f"{re.escape(BEGIN)}.*{re.escape(END)}"
    made[readme] = re.sub(pattern, lambda _: block, readme.read_text("utf-8"), flags=re.DOTALL)
    return made


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    for path, text in contents(ROOT).items():
        atomic.write(path, text)
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
