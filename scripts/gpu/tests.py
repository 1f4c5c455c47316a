"""The tests with the mark ``gpu``."""

import subprocess
import sys
from xml.etree import ElementTree

from gpu.section import ROOT, Place, Report


def main(place: Place, report: Report) -> None:
    """Run them; only their files are read, since others need packages that may not be there."""
    files = [p for p in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in p.read_text()]
    report.note("files", [str(path.relative_to(ROOT)) for path in files])
    results = place.work / "tests.xml"
    words = ["-o", "addopts=", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--tb=short"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, f"--junitxml={results}", *files],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    report.note("last lines", done.stdout.splitlines()[-5:])
    suite = ElementTree.parse(results).getroot().find("testsuite")
    counts = {key: int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped")}
    report.note("counts", counts)
    for case in suite.iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            report.check(False, f"{case.get('classname')}.{case.get('name')} failed")
    report.check(done.returncode == 0, f"pytest ended with {done.returncode}")
    if place.device == "cuda":
        passed = counts["tests"] - counts["skipped"] - counts["failures"] - counts["errors"]
        report.check(passed > 0 and not counts["skipped"], f"{counts['skipped']} were skipped")
