"""Make results/reports/ and the README's comparison anew from the records in results/records/.

    python scripts/update_tables.py

Nothing there is typed by hand; a test holds both against the records.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from maf_runner.records import entries
from maf_runner.records.record import Record
from maf_runner.reporting.comparison.cells import NOT_AUTHORS, comparison
from maf_runner.reporting.tables.grid import FORMATS, Item
from maf_runner.reporting.tables.table import TABLES, Choice, build
from maf_runner.system import atomic

ROOT = Path(__file__).resolve().parent.parent
BEGIN = "<!-- made by scripts/update_tables.py: begin -->"
END = "<!-- end -->"
CAPTION = (
    "The best model of each dataset so far, without class labels, chosen on the validation split: "
    "mean test log-likelihood in nats ± 2 standard errors over the test rows. The script, in the "
    "project's folder, takes two hours of a core; \\* as above."
)
# The command of each, by run id. Whichever becomes the best must be added here.
COMMANDS = {
    "bb482112b620": "maf-run dataset=power model=binned_made 'model.order=[5,1,4,3,2,0]' "
    "trainer=large_table",
    "70d0f4ca003f": "scripts/best_miniboone.sh",
    "e1843ee5f957": "maf-run dataset=bsds300 model=maf_mog model.size=0 model.scale=bounded "
    "trainer=small_table trainer.max_epochs=30 trainer.learning_rate=0.03",
    "058cfb2f33d6": "maf-run dataset=mnist model=maf_mog trainer=tuned",
}
BEATEN = ("power", "miniboone", "bsds300", "mnist")  # where the paper's best is


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
            of_the_paper, _ = build(name, found, Choice(trainers=["paper"]))
            blocks.append(of_the_paper.render("markdown"))
        if name == TABLES[0]:
            seeded = sorted({row["dataset"] for row in table.data if row["seeds"]})
            mixed, _ = build(name, found, Choice(seeded, mixtures=True))
            made[root / "results" / "reports" / "mixtures.md"] = mixed.render("markdown")
    for complaint in dict.fromkeys(complaints):
        print(complaint, file=sys.stderr)
    blocks.append(best(found))
    readme = root / "README.md"
    block = "\n".join([BEGIN, *blocks, END])
    pattern = f"{re.escape(BEGIN)}.*{re.escape(END)}"
    made[readme] = re.sub(pattern, lambda _: block, readme.read_text("utf-8"), flags=re.DOTALL)
    return made


def best(records: Sequence[Record]) -> str:
    """A Markdown table of the best model of each dataset, beside the paper's best."""
    lines = [CAPTION, "", "| dataset | the paper's best | here | command |", "|:--|--:|--:|:--|"]
    for dataset in BEATEN:
        cells = comparison(records, wanted=[(dataset, False)])
        paper = max((c.published for c in cells if c.published), key=lambda figure: figure.value)
        here = max((c for c in cells if c.record), key=lambda cell: cell.record.score)
        mark = r"\*" if NOT_AUTHORS in here.marks else ""
        figures = f"{Item.of(paper)} | {Item.of(here.ours)}{mark}"
        lines.append(f"| {dataset} | {figures} | `{COMMANDS[here.run_ids]}` |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    for path, text in contents(ROOT).items():
        atomic.write(path, text)
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
