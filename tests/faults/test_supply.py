"""Nothing is fetched or written that nobody asked for; what is unchecked is not called clean."""

import json
import os
import subprocess
import sys

from audit import judged

from tests.helpers import watched

RUN = ("maf-run", "dataset=toy/moons", "model=made", "model.hidden=[8]", "trainer.max_epochs=1")
TRAINED = "results/runs/toy-moons/made/*"
COMMANDS = [
    RUN,
    (*RUN, "tracker=tensorboard", "seed=1", "paths.results_dir=others"),
    ("maf-table",),
    ("maf-sample", TRAINED, "--n", "5"),
    ("maf-score", TRAINED, "samples.npy"),
    ("maf-export", TRAINED, "--format", "torch"),
    ("maf-plot", "curves", TRAINED),
    ("maf-report",),
    ("maf-data", "list"),
    ("maf-run", "dataset=power"),  # its files are not here, and nobody asked for them
]
FETCH = ("maf-run", "dataset=power", "dataset.download=true", "paths.mirror=http://127.0.0.1:9")
MADE_BY_COMMANDS = {"samples.npy", "samples.png", "scores.csv", "curves.png", "model.pt2"}


def test_no_network_and_no_file_that_was_not_asked_for(tmp_path, survived):
    """But for matplotlib's list of the fonts it has found, in the cache of the user."""
    places = {name: tmp_path / name for name in ("here", "home", "temporary")}
    for place in places.values():
        place.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG", "MPL", "MAF_"))}
    environment |= {"HOME": str(places["home"]), "TMPDIR": str(places["temporary"])}
    done = subprocess.run(
        [sys.executable, watched.__file__, json.dumps([*COMMANDS, FETCH])],
        cwd=places["here"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *told, fetched = json.loads(done.stdout.splitlines()[-1])
    right = ["import", *(words[0] for words in COMMANDS)]
    assert [name for name, _, _ in told] == right
    assert [code for _, code, _ in told] == [0] * (len(told) - 1) + [3], done.stderr
    assert [asked for _, _, asked in told] == [[]] * len(told)
    assert fetched[1] == 3 and any("127.0.0.1" in line for line in fetched[2])  # the hook sees it

    here = {p for p in files_under(places["here"]) if not p.startswith(("results/", "others/"))}
    assert here - MADE_BY_COMMANDS == {"data/prepared/.power.lock", "data/raw/.data.tar.gz.lock"}
    assert {p.rpartition("/")[0] for p in files_under(places["home"])} <= {".cache/matplotlib"}
    assert files_under(places["temporary"]) == set()
    survived("commands without a network", len(told))


def files_under(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_what_could_not_be_checked_is_not_called_clean():
    clean, skipped = {"name": "a", "vulns": []}, {"name": "b", "skip_reason": "not found"}
    bad = {"name": "c", "vulns": [{"id": "CVE-1"}]}
    assert judged([clean], ["a"])[0] == 0
    for found in ([clean, skipped], [clean], []):  # skipped, left out, no answer at all
        code, told = judged(found, ["a", "b"])
        assert code == 2 and "b" in told[0] and "not checked" in told[0]
    code, told = judged([clean, skipped, bad], ["a", "b", "c"])
    assert code == 1 and told[0] == "vulnerable: c: CVE-1"
    assert told[-1] == "3 packages: 1 clean, 1 vulnerable, 1 not checked"
