"""Power lost at any moment: what was not synced is cut short, at any length, or zeros.

A disk keeps what was synced, and the names as they stood after the last sync of their folder or
later. So a crash leaves the names of some moment, and under them files whose last writes may be
gone in part.
"""

import json
import shutil
from dataclasses import replace

import pytest

from maf_runner.datasets import miniboone
from maf_runner.datasets.base import Paths
from maf_runner.datasets.preparation import prepared
from maf_runner.records.record import Record, UnreadableRecordError
from maf_runner.training import DamagedCheckpointError, checkpoint
from tests.helpers.runs import RUN, leftovers, record_of


def test_every_file_is_synced_renamed_and_its_folder_synced(whole):
    """The order that makes a rename safe."""
    operations = [tuple(entry) for entry in whole.operations]
    renamed = [i for i, (event, path) in enumerate(operations) if event == "os.rename"]
    checked = 0
    for place in renamed:
        path = operations[place][1]
        if not path.endswith(".tmp"):
            assert path.endswith("/last.pt")  # the one before is kept, whole as it is
            continue
        folder = path.rpartition("/")[0]
        assert operations[place - 1] == ("fsync", path)
        assert operations[place + 1] == ("fsync", folder)
        checked += 1
    assert checked > 15


def crashed(folder, left, unsynced, chance):
    """What a disk may hold after a crash: files that were not synced are cut or zeros."""
    shutil.copytree(folder, left)
    for name in unsynced:
        path = left / name
        content = path.read_bytes()
        cut = chance.choice((0, len(content), chance.randint(0, len(content))))
        path.write_bytes(chance.choice((content[:cut], bytes(len(content)))))


def test_power_lost_at_any_operation(start, raw, tmp_path, whole, amount, chance, survived):
    words = (*RUN, f"paths.raw_dir={raw}")
    (tmp_path / "run").mkdir()
    (tmp_path / "states").mkdir()
    start(*words, cwd=tmp_path / "run", states=str(tmp_path / "states"))
    states = sorted((tmp_path / "states").iterdir())
    assert len(states) == len(whole.operations)
    for state in amount(chance.sample(states, 3), states):
        unsynced = json.loads((state / "unsynced.json").read_text())
        left = tmp_path / f"left-{state.name}"
        crashed(state / "files", left, unsynced, chance)
        again = start(*words, cwd=left)
        assert again.returncode == 0, again.stderr
        assert record_of(left) == whole.record
        assert leftovers(left) == []
    survived("power lost at an operation on a file", amount(3, len(states)))


@pytest.fixture(scope="module")
def stopped(start, raw, whole, tmp_path_factory):
    """A run that was killed when all but the record was written."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    folder.mkdir()
    names = [path for _, path in whole.operations]
    at = 1 + next(i for i, name in enumerate(names) if ".record.json" in name)
    assert start(*RUN, f"paths.raw_dir={raw}", cwd=folder, signal=9, at=at).returncode == -9
    return folder


def beginnings(path, few, chance, amount):
    """The content of a file cut short, at a few lengths or at (nearly) all."""
    content = path.read_bytes()
    lengths = range(0, len(content), max(1, len(content) // 3000))
    return [content[:length] for length in amount(chance.sample(lengths, few), lengths)]


def test_a_record_cut_at_any_length_is_none(whole, tmp_path, chance, amount, survived):
    (good,) = whole.folder.rglob("record.json")
    cut = beginnings(good, 50, chance, amount)
    for content in cut:
        (tmp_path / "record.json").write_bytes(content)
        if content.strip() == good.read_bytes().strip():
            continue  # all but the line end
        with pytest.raises(UnreadableRecordError, match=r"record\.json"):
            Record.read(tmp_path / "record.json")
    survived("files cut short", len(cut))


def test_a_checkpoint_cut_at_any_length_is_none(stopped, tmp_path, chance, amount, survived):
    (good,) = stopped.rglob("last.pt")
    cut = beginnings(good, 50, chance, amount)
    for content in [*cut, bytes(good.stat().st_size)]:
        (tmp_path / "last.pt").write_bytes(content)
        with pytest.raises(DamagedCheckpointError, match=r"last\.pt"):
            checkpoint.load(tmp_path / "last.pt", {})
    survived("files cut short", len(cut))


def test_prepared_data_cut_at_any_length_are_none(whole, tmp_path, chance, amount, survived):
    (good,) = whole.folder.rglob("miniboone.h5")
    cut = beginnings(good, 50, chance, amount)
    recipe = replace(miniboone.PREPARATION, rows=(405, 45, 50))
    for content in [*cut, bytes(good.stat().st_size)]:
        (tmp_path / "miniboone.h5").write_bytes(content)
        with pytest.raises(prepared.UnpreparedError, match=r"miniboone\.h5"):
            prepared.read(recipe, Paths(tmp_path, tmp_path), {})
    survived("files cut short", len(cut))


@pytest.mark.parametrize("damaged", [("last.pt",), ("last.pt", "previous-last.pt")])
def test_a_damaged_checkpoint_falls_back_and_says_so(
    start, raw, stopped, whole, tmp_path, damaged, chance, amount, survived
):
    cases = amount(1, 20)
    for case in range(cases):
        folder = tmp_path / str(case)
        shutil.copytree(stopped, folder)
        for name in damaged:
            (path,) = (p for p in folder.rglob("*.pt") if p.name == name)
            content = path.read_bytes()
            path.write_bytes(content[: chance.randrange(len(content))])
        again = start(*RUN, f"paths.raw_dir={raw}", cwd=folder)
        assert again.returncode == 0, again.stderr
        assert again.stderr.count("passed over") == len(damaged)
        before = 5 if len(damaged) == 1 else 0
        assert (f"goes on after {before} validations" in again.stderr) == (before > 0)
        assert record_of(folder) == whole.record
    survived("damaged checkpoints", cases)
