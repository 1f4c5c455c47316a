"""``maf-data`` as a user meets it, and ``maf-run`` preparing and downloading by itself."""

import gzip
import json
import shutil

import numpy as np
import pytest

from maf_runner.commands.catalogue import datasets
from tests.helpers.mirror import serving

NAMES = ["bsds300", "cifar10", "gas", "hepmass", "miniboone", "mnist", "power"]


@pytest.fixture
def command(command):
    """As everywhere, but away from real data."""

    def run(*words, env=None, **how):
        return command(*words, env={"MAF_RUNNER_RAW_DIR": "data/raw", **(env or {})}, **how)

    return run


@pytest.fixture
def miniboone(tmp_path):
    """Splits of the right shapes, as somebody might have stored them; the numbers are invented."""
    folder = tmp_path / "data" / "raw" / "miniboone"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, n in (("train", 29556), ("val", 3284), ("test", 3648)):
        np.save(folder / f"{name}.npy", rng.normal(size=(n, 43)))
    return folder


def state(command, name):
    lines = command("maf-data", "list", check=0).stdout.splitlines()
    line = next(x for x in lines if x.startswith(name))
    return line.split(" MB")[1].split()[0]


def test_every_dataset_of_the_paper_has_a_preparation():
    known = datasets()
    assert sorted(known) == NAMES
    assert known["mnist"].options == {"alpha": 1e-6} and known["power"].options == {}


def test_preparations_agree_with_the_papers_table():
    """Sizes as SSTM's Table 2 and the authors' splits give them."""
    sizes = {name: (d.preparation.features, *d.preparation.rows) for name, d in datasets().items()}
    assert sizes == {
        "power": (6, 1659917, 184435, 204928),
        "gas": (8, 852174, 94685, 105206),
        "hepmass": (21, 315123, 35013, 174987),
        "miniboone": (43, 29556, 3284, 3648),
        "bsds300": (63, 1000000, 50000, 250000),
        "mnist": (784, 50000, 10000, 10000),
        "cifar10": (3072, 90000, 5000, 10000),
    }


def test_list_prepare_verify(command, tmp_path, miniboone):
    table = command("maf-data", "list", check=0).stdout
    assert all(name in table for name in NAMES) and "29,556 / 3,284 / 3,648" in table
    assert "maf-data fetch bsds300 cifar10 gas hepmass mnist power" in table
    assert state(command, "miniboone") == "found" and state(command, "power") == "missing"
    assert "not prepared" in command("maf-data", "verify", "miniboone", check=3).stderr
    done = command("maf-data", "prepare", "miniboone", check=0)
    assert "(raw)" in done.stdout and "preparing miniboone from" in done.stderr
    assert state(command, "miniboone") == "prepared"
    assert "fingerprint" in command("maf-data", "verify", "miniboone", check=0).stdout
    path = tmp_path / "data" / "prepared" / "miniboone.h5"
    path.write_bytes(path.read_bytes()[:1000])
    assert state(command, "miniboone") == "corrupt"
    assert "is damaged" in command("maf-data", "verify", "miniboone", check=3).stderr
    command("maf-data", "prepare", "miniboone", check=0)
    assert state(command, "miniboone") == "prepared"


def test_run_prepares_on_first_use_and_records_what_it_used(command, tmp_path, miniboone):
    words = ["maf-run", "model=gaussian", "dataset=miniboone"]
    first = command(*words, check=0)
    assert "preparing miniboone" in first.stderr
    shutil.rmtree(miniboone)
    again = command(*words, "force=true", check=0)
    assert "preparing" not in again.stderr and again.stdout == first.stdout
    record = json.loads(next(tmp_path.rglob("record.json")).read_text())
    assert record["data"]["recipe"] == "raw" and record["departures"] == []
    assert list(record["data"]["sources"]) == ["*train.npy", "*val*.npy", "*test.npy"]
    assert record["settings"]["dataset"] == {
        "name": "miniboone",
        "_target_": "maf_runner.datasets.miniboone.load",
    }


def test_prepare_fails_where_the_arrays_cannot_be_kept(command, tmp_path, miniboone):
    (tmp_path / "file").touch()
    words = ["maf-data", "prepare", "miniboone", "--prepared-dir", "file/prepared"]
    failed = command(*words, check=3)
    assert "could not be written" in failed.stderr and not failed.stdout


def test_nothing_there_says_how_to_get_it(command):
    gone = command("maf-run", "model=gaussian", "dataset=power", check=3)
    assert "maf-data fetch power" in gone.stderr and "archive.ics.uci.edu" in gone.stderr
    several = command("maf-data", "prepare", "power", "gas", check=3).stderr
    assert "power: its files" in several and "failed: power, gas" in several
    assert "did you mean 'power'" in command("maf-data", "prepare", "pwer", check=2).stderr
    assert "NAME" in command("maf-data", "fetch", check=2).stderr


def test_fetch_from_a_mirror_checks_before_anything_sees_the_file(command, tmp_path):
    served = tmp_path / "served" / "mnist"
    served.mkdir(parents=True)
    name = "t10k-labels-idx1-ubyte.gz"
    (served / name).write_bytes(gzip.compress(b"other labels"))
    with serving(tmp_path / "served") as mirror:
        # Every other address is closed to the test: a proxy that is not there.
        closed = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
        env = {**closed, "no_proxy": "127.0.0.1"}
        failed = command("maf-data", "fetch", "mnist", "--mirror", mirror, env=env, check=3)
    assert "404" in failed.stderr and "by hand" in failed.stderr
    assert not list((tmp_path / "data" / "raw").rglob("*.gz"))


def test_fetch_and_run_on_the_real_files(command, tmp_path, raw_dir):
    """From a local server with the true files: fetch, then a run that downloads for itself."""
    with serving(raw_dir) as mirror:
        env = {"MAF_RUNNER_RAW_DIR": str(tmp_path / "own")}
        got = command("maf-data", "fetch", "mnist", "--mirror", mirror, env=env, check=0)
        words = ["maf-run", "model=gaussian", "dataset=mnist", "dataset.download=true"]
        elsewhere = {"MAF_RUNNER_RAW_DIR": "empty", "MAF_RUNNER_MIRROR": mirror}
        kept = ["paths.results_dir=a", "paths.prepared_dir=b"]
        run = command(*words, *kept, env=elsewhere, check=0)
        assert "-1366.90 ± 1.44 nats" in run.stderr and (tmp_path / "empty" / "mnist").is_dir()
    assert "licence: none stated; cite: LeCun" in got.stdout
    assert len(list((tmp_path / "own" / "mnist").glob("*.gz"))) == 4
    done = command("maf-data", "verify", "mnist", env=env, check=0).stdout
    assert "t10k-images-idx3-ubyte.gz has the published checksum" in done
    run = command("maf-run", "model=gaussian", "dataset=mnist", env=env, check=0)
    assert "-1366.90 ± 1.44 nats" in run.stderr
    assert (
        "the means agree with the known means"
        in command("maf-data", "verify", "mnist", check=0).stdout
    )
