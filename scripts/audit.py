"""Known vulnerabilities of the pinned versions, by pip-audit: `make audit`.

    python scripts/audit.py

What the database does not answer for counts as not checked, never as clean; pip-audit itself
ends with "No known vulnerabilities found" even if it could ask about nothing. Exit code: 0 all
checked and clean, 1 vulnerable, 2 something was not checked.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINNED = Path(__file__).resolve().parent.parent / "constraints.txt"
AUDIT = (
    "-m",
    "pip_audit",
    "--no-deps",
    "--disable-pip",
    "--progress-spinner=off",
    "--format=json",
)


def judged(packages: list[dict[str, Any]], pinned: list[str]) -> tuple[int, list[str]]:
    """The exit code for what pip-audit found, and what to say of it."""
    known = {p["name"] for p in packages if p.get("vulns") == []}
    found = {p["name"]: [v["id"] for v in p["vulns"]] for p in packages if p.get("vulns")}
    lines = [f"vulnerable: {name}: {', '.join(ids)}" for name, ids in sorted(found.items())]
    unchecked = sorted(set(pinned) - known - set(found))
    lines += [f"not checked: {', '.join(unchecked)}"] if unchecked else []
    total = f"{len(known)} clean, {len(found)} vulnerable, {len(unchecked)} not checked"
    return 1 if found else 2 if unchecked else 0, [*lines, f"{len(pinned)} packages: {total}"]


def main() -> int:
    """Ask, and say what is known; return the exit code."""
    lines = [line.partition("==")[0] for line in PINNED.read_text().splitlines() if "==" in line]
    pinned = [name.lower().replace("_", "-").replace(".", "-") for name in lines]
    asked = subprocess.run(
        [sys.executable, *AUDIT, "--requirement", PINNED], capture_output=True, text=True
    )
    try:
        packages = json.loads(asked.stdout)["dependencies"]
    except ValueError:
        packages = []
        print(asked.stderr.strip()[-1000:], file=sys.stderr)
    code, told = judged(packages, pinned)
    print("\n".join(told))
    return code


if __name__ == "__main__":
    sys.exit(main())
