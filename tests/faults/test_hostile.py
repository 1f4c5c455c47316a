"""Files from strangers: whatever is in them, nothing runs, and the user is told which file."""

import contextlib
import io
import json
import pickle
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from maf_runner import load_run
from maf_runner.commands import sample, score
from maf_runner.datasets import bsds300, cifar10, gas, hepmass, miniboone, mnist, power
from maf_runner.datasets.preparation import making, prepared
from maf_runner.datasets.untrusted import archives, pickles
from maf_runner.engine.native.library import instructions
from maf_runner.experiment.prepare import data_of
from maf_runner.flows import MADE
from maf_runner.records import entries, jobs
from maf_runner.records.folder import RunFolder
from maf_runner.records.record import UnreadableRecordError
from maf_runner.reporting.comparison.cells import comparison
from maf_runner.reporting.page import report
from maf_runner.reporting.plots.curves import curves_of
from maf_runner.reporting.plots.dots import panels
from maf_runner.reporting.tables.grid import FORMATS
from maf_runner.reporting.tables.table import Choice, build
from maf_runner.system.errors import DataError, UsageError
from maf_runner.training import checkpoint
from tests.helpers import drawn, hostile
from tests.helpers.records import made_up
from tests.helpers.tables import read as read_table

instructions()  # loads the native library, which must not look like the work of a file


@pytest.fixture
def read_all(tmp_path, survived, amount, chance):
    """Read hostile files, all or a few, and look at what became of them."""

    def of_kind(kind, cases, read, refusals, *, few=12):
        cases = list(cases)
        tried = amount(chance.sample(cases, min(few, len(cases))), cases)
        wrong, refused = hostile.trials(tried, read, refusals, tmp_path)
        assert wrong == {}
        assert not list(tmp_path.rglob(hostile.MARKER))
        survived(f"hostile {kind}", len(tried))
        return refused

    return of_kind


def finished(pairs):
    """Of pickles without beginning and end, whole ones."""
    return [(name, b"\x80\x02" + content + b".") for name, content in pairs]


@pytest.mark.parametrize("load", [pickles.load, pickles.load_frame])
def test_pickles(read_all, load, chance, amount):
    good = pickle.dumps([(np.ones((2, 3), "f4"), np.zeros(2, "i8"))] * 2, protocol=2)
    if load is pickles.load_frame:
        good = dict(finished(hostile.frames()))["a frame of one value"]
    cases = [
        *hostile.programs(),
        *finished(hostile.pickles()),
        *finished(hostile.frames()),
        *hostile.fuzzed(good, 200, chance),
    ]
    read_all("pickles", cases, lambda c: load(c, "x.pkl"), {DataError: lambda c: "x.pkl"}, few=20)


def tables():
    """A good file of each format of tables."""
    rows = np.random.default_rng(0).normal(size=(40, 3))
    frame = pd.DataFrame(rows, columns=list("abc")).assign(kind=["x", "y"] * 20)
    splits = {"train": rows, "val": rows[:5], "test": rows[5:9], "train_labels": np.arange(40)}
    return {
        "x.csv": frame.to_csv(index=False).encode(),
        "x.parquet": hostile.written(frame.to_parquet),
        "x.npy": hostile.written(lambda file: np.save(file, rows)),
        "x.npz": hostile.written(lambda file: np.savez_compressed(file, **splits)),
        "x.h5": hostile.stored(lambda file: file.create_dataset("data", data=rows, chunks=(9, 3))),
    }


def crafted_tables():
    for name, content in hostile.texts():
        yield name, ("x.csv", content)
    for name, content in hostile.npys():
        yield f"npy {name}", ("x.npy", content)
        yield f"npz {name}", ("x.npz", hostile.packed([("data.npy", content)], "zip"))
    for name, fill in hostile.stores():
        yield f"h5 {name}", ("x.h5", hostile.stored(fill))
    zeros = hostile.npy("(37000000, 1)")
    yield (
        "npz zeros",
        (
            "x.npz",
            lambda: hostile.packed([("data.npy", zeros + bytes(37_000_000 * 8))], "zip"),
        ),
    )
    yield "npz of no arrays", ("x.npz", hostile.packed([("a", b"1")], "zip"))
    many = pd.DataFrame({"a": np.broadcast_to(np.int8(0), 1 << 26), "b": False})
    yield "parquet zeros", ("x.parquet", lambda: hostile.written(many.to_parquet))
    for kind, values in {
        "lists": [[1.0]] * 20,
        "structs": [{"a": 1}] * 20,
        "bytes": [b"\xff"] * 20,
        "times": list(pd.date_range("2020", periods=20, tz="UTC")),
        "large decimals": [__import__("decimal").Decimal(10) ** 37] * 20,
        "nothing": [None] * 20,
    }.items():
        frame = pd.DataFrame({"a": values, "b": np.arange(20.0)})
        yield f"parquet {kind}", ("x.parquet", hostile.written(frame.to_parquet))


@pytest.mark.parametrize("label", [None, "label", "kind"])
def test_tables(read_all, tmp_path, label, chance, amount):
    cases = list(crafted_tables()) if label is None else []
    for name, whole in tables().items():
        count = amount(6, 100)
        cases += [(f"{name} {n}", (name, c)) for n, c in hostile.fuzzed(whole, count, chance)]

    def read(case):
        content = case[1]() if callable(case[1]) else case[1]
        (tmp_path / case[0]).write_bytes(content)
        read_table(tmp_path / case[0], label=label)

    read_all("tables", cases, read, {DataError: lambda case: case[0]})


def test_archives(read_all, tmp_path, chance, amount):
    raw = tmp_path / "raw"
    (raw / "set").mkdir(parents=True)
    cases = list(hostile.archives())
    for ending in ("tar", "tar.gz", "tar.xz", "tar.bz2", "zip"):
        whole = hostile.packed([("x/a", b"1"), ("x/b", b"2")], ending)
        fuzzed = hostile.fuzzed(whole, amount(6, 80), chance)
        cases += [(f"{ending} {n}", (f"x.{ending}", content)) for n, content in fuzzed]

    def read(case):
        for path in (raw / "set").iterdir():
            path.unlink()
        content = case[1]() if callable(case[1]) else case[1]
        (raw / "set" / case[0]).write_bytes(content)
        try:
            with archives.find(raw, "set", {"a": 100}) as found:
                assert len(found.read("a")) <= 100
        except archives.MissingError:
            pass  # there is no plain file of this name in it

    read_all("archives", cases, read, {DataError: lambda case: case[0]}, few=12)
    assert {p.name for p in tmp_path.iterdir()} == {"raw"}


def raw_files():
    """Small files in the forms that recipes read, by recipe and name."""
    rows = np.random.default_rng(0).normal(size=(60, 50)).round(3)

    def text(part, separator, header):
        return "\n".join([header, *(separator.join(map(str, row)) for row in part)]).encode()

    signal = "\n".join(["  36499  93565", *("  ".join(map(str, row)) for row in rows)]).encode()
    events = np.column_stack([np.ones(60), rows[:, :27]])
    minutes = "\n".join(
        [";".join(power.HEADER), *(f"1/1/2007;17:{i:02}:00;1;2;3;4;5;6;7" for i in range(60))]
    ).encode()
    npy = hostile.written(lambda file: np.save(file, rows[:, :43]))
    named = ",".join(f"f{i}" for i in range(28))
    patches = dict.fromkeys(("train", "validation", "test"), rows)
    frame = dict(finished(hostile.frames()))["a frame of one value"]
    batch = pickle.dumps({b"data": np.zeros((2, 3072), "u1"), b"labels": [0, 1]}, protocol=2)
    pairs = pickle.dumps([(rows.astype("f4"), np.zeros(60, "i8"))] * 3, protocol=2)
    return {
        (miniboone, "MiniBooNE_PID.txt"): signal,
        (miniboone, "data.npy"): npy,
        (miniboone, "train.npy"): npy,
        (power, power.TEXT): minutes,
        (power, "data.npy"): npy,
        (hepmass, hepmass.TRAIN): text(events, ",", named),
        (hepmass, hepmass.TEST): text(events, ",", named + ",g"),
        (gas, gas.TEXT): text(rows[:, :19], " ", "Time and the rest"),
        (gas, gas.PICKLE): frame,
        (bsds300, bsds300.HDF5): hostile.stored(lambda file: file.update(patches)),
        (cifar10, "data_batch_1"): batch,
        (mnist, mnist.PICKLE): pairs,
        (mnist, "train-images-idx3-ubyte"): bytes([0, 0, 8, 3, 0, 0, 0, 1]) + bytes(50),
    }


def test_raw_files(read_all, tmp_path, chance, amount):
    good = raw_files()
    cases = []
    for (room, name), whole in good.items():
        harmful = [("as it is", whole), ("nothing", b""), ("one line", whole[:20])]
        if name.endswith("npy"):
            harmful += hostile.npys()
        if name == bsds300.HDF5:
            harmful += [
                (kind, hostile.stored(lambda f, fill=fill: (fill(f), f.move("data", "train"))))
                for kind, fill in hostile.stores()
            ]
        if room in (mnist, cifar10, gas) and name != gas.TEXT:
            harmful += finished(hostile.pickles())
        harmful += hostile.fuzzed(whole, amount(3, 40), chance)
        cases += [(f"{name} {kind}", (room, name, content)) for kind, content in harmful]

    def read(case):
        room, name, content = case
        folder = tmp_path / "raw" / room.PREPARATION.name
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        for other, beside in good:
            if other is room and beside != name and room in (hepmass, cifar10):
                (folder / beside).write_bytes(good[other, beside])
        if room is cifar10:
            for member in cifar10.MEMBERS:
                (folder / member).write_bytes(b"")
        if room is mnist and name != mnist.PICKLE:
            for member in mnist.IDX:
                (folder / member).write_bytes(b"")
        if name == "train.npy":
            for other in ("val.npy", "test.npy"):
                (folder / other).write_bytes(content)
        (folder / name).write_bytes(content)
        making.make(room.PREPARATION, tmp_path / "raw", **room.PREPARATION.options)

    def named(case):
        return case[1].partition(".")[0] if case[0] is not hepmass else "1000_t"

    assert read_all("raw files", cases, read, {DataError: named}) > 0


# What a run leaves, tampered with.

KINDS = (None, True, 0, -1, 10**400, 1e308, -1e308, float("nan"), float("inf"), 0.5, "", "\ud800",
         "\x1b[2J", "<script>", "\\input{x}", "=cmd|'/c calc'!A0", "x" * 10**5, "../../x", "/etc",
         [], [[]], {}, {"a": 1}, [None], [1, "a"], ["x"] * 1000, {"x": {}}, "${oc.env:HOME}",
         "{{ 7*7 }}", "\0", [[[[[[[[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]]]]]]]])  # fmt: skip


def places(node, path=()):
    """Where in nested dicts something stands."""
    for key, value in node.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


def changed(node, path, value):
    """A copy of nested dicts with ``value`` at ``path``."""
    first, *rest = path
    return {**node, first: changed(node[first], rest, value) if rest else value}


def tampered(record):
    """Records with one value of another kind, and texts that are no records."""
    for path in places(record):
        for number, value in enumerate(KINDS):
            text = json.dumps(changed(record, path, value))
            yield f"{'.'.join(path)} {number}", text.encode()
    text = json.dumps(record)
    yield from {
        "deep lists": b"[" * 200_000,
        "deep dicts": b'{"a":' * 200_000,
        "deep in a field": json.dumps({**record, "settings": "deep"}).replace(
            '"deep"', "[" * 900 + "]" * 900).encode(),
        "long number": b'{"schema": 1' + b"0" * 100_000 + b"}",
        "twice": (text + text).encode(),
        "UTF-16": text.encode("utf-16"),
        "no text": b"\xff" * 100,
        "zeros": bytes(10_000),
        "a list": b"[1]",
        "null": b"null",
    }.items()  # fmt: skip


ONE = "runs/power/made/one"


def good_record(**changes):
    table = {"columns": ["a", "b"], "mean": [0.0, 1.0], "deviation": [1.0, 2.0], "label": None,
             "classes": []}  # fmt: skip
    data = {"fingerprint": "f", "recipe": "own", "sources": {"x.csv": "0"}, "entropy": None,
            "image": None, "class_prior": None, "table": table}  # fmt: skip
    model = {
        "_target_": "maf_runner.flows.MADE", "name": "made", "conditional": False, "hidden": [4],
        "activation": "relu", "degrees": "sequential", "mask": "paper",
    }  # fmt: skip
    settings = {"model": model, "dataset": {"name": "power"}, "trainer": {"name": "paper"}}
    made = {"features": 2, "context": 0, "best_epoch": 1, "epochs": 2, "seconds": 1.0}
    return made_up(dataset="power", data=data, settings=settings, departures=[], **made, **changes)


@pytest.fixture
def results(tmp_path):
    """Two good runs, with model, curve and rows; the first is tampered with."""
    model = MADE(2, hidden=[4], activation="relu", degrees="sequential", mask="paper")
    nats = np.zeros(9, "f4")
    for run_id in ("one", "two"):
        folder = tmp_path / "results" / "runs" / "power" / "made" / run_id
        folder.mkdir(parents=True)
        figures = {"log_likelihood": 0.0, "error": 0.1}
        found = good_record(run_id=run_id, test=figures, validation=figures).as_json()
        (folder / "record.json").write_text(json.dumps(found))
        checkpoint.save(folder / "best.pt", {"run_id": run_id, "model": model.state_dict()})
        for split in entries.NATS:
            np.save(folder / entries.NATS[split], nats)
        header = "epoch,updates,train_nats,validation_nats,seconds"
        (folder / "history.csv").write_text(header + "\n1,1,-1,-1,1\n2,2,0,0,1\n")
    return tmp_path / "results"


def with_no_pictures(kept, complaints):
    """The page; its pictures take most of the time, and are drawn by another test."""
    report._pictures = lambda cells, samples: ([], [])  # in the child alone
    report.render(kept, complaints, {}).encode()


def carry_out(main, *words):
    """Carry out a command; raise what it complains of where it gives up."""
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        code = main([str(word) for word in words])
    if code:
        assert code in (2, 3)
        raise DataError(told.getvalue())


def test_records(read_all, results, chance, amount):
    path = results / ONE / "record.json"
    found = json.loads(path.read_text())
    folder = path.parent
    cases = list(tampered(found))
    cases += hostile.fuzzed(path.read_bytes(), amount(10, 100), chance)
    rows = np.zeros((3, 2))
    np.save(results / "rows.npy", rows)

    def read(content):
        path.write_bytes(content)
        kept, complaints = entries.find(results)
        for name in ("leaderboard", "comparison"):
            for choice in (Choice(), Choice(mixtures=True)):
                table, _ = build(name, kept, choice)
                for form in FORMATS:
                    table.render(form).encode()
        assert len(kept) + len(complaints) == 2
        for entry in kept:
            entry.title, entry.describe(), entries.history(entry), entries.row_nats(entry)
        cells = comparison(kept)
        curves_of(cells), panels(cells)
        with_no_pictures(kept, complaints)
        carry_out(score.main, folder, results / "rows.npy", "--out", results / "s.csv")
        carry_out(sample.main, folder, "--out", results / "s.npy")

    named = {DataError: lambda case: folder, UnreadableRecordError: lambda case: folder}
    assert read_all("records", cases, read, named, few=12) > 0


def test_what_lies_beside_a_record(read_all, results, chance, amount):
    folder = results / ONE
    lines = [b"epoch,updates,train_nats,validation_nats,seconds"]
    curves = {
        "a long field": b"\n".join([*lines, b"1,1,1,1," + b"1" * 200_000]),
        "too large": b"\n".join([*lines, b"1,1,1,1e308,1", b"2,1,1,-1e308,1"]),
        "no number": b"\n".join([*lines, b"1,1,1,nan,1"]),
        "too few": b"\n".join([*lines, b"1,1"]),
        "too many": b"\n".join([*lines, b"1,1,1,1,1,1,1"]),
        "zeros": bytes(1000),
        "twice the same": b"epoch,epoch,validation_nats\n1,2,3\n",
    }
    cases = [(name, ("history.csv", content)) for name, content in curves.items()]
    beside = ("history.csv", *entries.NATS.values())
    for file in entries.NATS.values():
        cases += [(f"{file} {name}", (file, content)) for name, content in hostile.npys()]
        cases += [(f"{file} packed {name}", (file, hostile.packed([("data.npy", content)], "zip")))
                  for name, content in hostile.npys()]  # fmt: skip
    for name in beside:
        whole = (folder / name).read_bytes()
        cases += [(f"{name} {n}", (name, c))
                  for n, c in hostile.fuzzed(whole, amount(10, 100), chance)]  # fmt: skip

    good = {name: (folder / name).read_bytes() for name in beside}

    def read(case):
        for name, content in (*good.items(), case):
            (folder / name).write_bytes(content)
        (entry,) = [e for e in entries.find(results)[0] if e.run_id == "one"]
        for split in entries.NATS:
            entries.row_nats(entry, split)
        panels, complaints = curves_of(comparison([entry]))
        assert len(panels) + len(complaints) == 1
        if panels:
            ((curve,),) = panels.values()
            assert np.isfinite(curve.nats).all()

    read_all("curves and rows", cases, read, {UnreadableRecordError: lambda case: case[0]})


def test_models(read_all, results, chance, amount):
    path = results / ONE / "best.pt"
    whole = path.read_bytes()
    state = checkpoint.load(path, {})
    wide = torch.zeros(1).expand(10**6, 10**6)
    values = (None, 1, "x", [], {}, wide, torch.zeros(0), torch.full((4, 2), torch.nan),
              torch.zeros(4, 2).to_sparse(), torch.zeros(4, 2, dtype=torch.complex64))  # fmt: skip
    cases = [("as it is", whole)]
    for name in [*state, *state["model"]]:
        for number, value in enumerate(values):
            inner = {**state["model"], name: value}
            other = {**state, name: value} if name in state else {**state, "model": inner}
            content = hostile.written(lambda file, other=other: torch.save(other, file))
            cases.append((f"{name} {number}", content))
    with zipfile.ZipFile(io.BytesIO(whole)) as pack:
        parts = {name: pack.read(name) for name in pack.namelist()}
    programs = [*hostile.programs(), *finished(hostile.pickles())]
    for name, program in programs:
        members = [(n, program if n.endswith("data.pkl") else c) for n, c in parts.items()]
        cases += [(f"{name} inside", hostile.packed(members, "zip")), (name, program)]
    cases += hostile.fuzzed(whole, amount(10, 100), chance)

    def read(content):
        path.write_bytes(content)
        with contextlib.suppress(checkpoint.DamagedCheckpointError):
            checkpoint.load(path, {"run_id": "one"})
        model = load_run(path.parent)
        assert all(tensor.isfinite().all() for tensor in model.state_dict().values())

    read_all("models", cases, read, {DataError: lambda case: path.parent})


def test_settings_of_runs(read_all, results, tmp_path, chance, amount):
    path = results / ONE / "config.yaml"
    settings = {
        "dataset": {"name": "digits", "_target_": "maf_runner.datasets.digits.load", "alpha": 0.1},
        "model": {"name": "made", "conditional": False},
        "paths": {"raw_dir": "raw", "prepared_dir": "prepared", "mirror": None},
    }
    good = yaml.safe_dump(settings).encode()
    laughs = "a: &a [x]\n" + "\n".join(
        f"b{i}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(20)
    )
    targets = ("os.system", "builtins.eval", "maf_runner.datasets.files.hashlib.new", 5, None,
               "maf_runner.datasets.preparation.store.write",
               "maf_runner.datasets.preparation.download.fetch", "", "...",
               "maf_runner.datasets.preparation.prepared.atomic.write",
               "maf_runner.commands.run.main")  # fmt: skip
    cases = [
        ("as it is", good),
        ("laughs", laughs.encode()),
        ("laughs in a setting", good + laughs.replace("a: &a", "paths: &a").encode()),
        ("deep", b"[" * 5000),
        ("deep settings", b"a: " + b"{a: " * 3000),
        ("a program", b"!!python/object/apply:os.system ['touch executed']"),
        ("a program in a setting", good + b"x: !!python/object/new:os.system ['touch executed']"),
        ("a name", good + b"x: !!python/name:os.system"),
        ("a list", b"[1, 2]"),
        ("no text", b"\xff\xfe\x00"),
        ("secrets", good.replace(b"alpha: 0.1", b"alpha: ${oc.env:HOME}")),
    ]
    for place in places(settings):
        for number, value in enumerate(KINDS):
            text = yaml.safe_dump(changed(settings, place, value), allow_unicode=False)
            cases.append((f"{'.'.join(place)} {number}", text.encode(errors="replace")))
    for name in targets:
        text = yaml.safe_dump(changed(settings, ("dataset", "_target_"), name))
        cases.append((f"target {name}", text.encode()))
    cases += hostile.fuzzed(good, amount(10, 100), chance)

    def read(content):
        path.write_bytes(content)
        data_of(RunFolder(path.parent))

    refusals = {DataError: lambda case: "", UsageError: lambda case: ""}
    read_all("settings of runs", cases, read, refusals)


def test_jobs_of_sweeps(read_all, tmp_path, chance, amount):
    job = jobs.Job(3, ["a=1", "b=2"], "done", "MADE: test 1.00", "/results/x")
    job.write(tmp_path)
    path = tmp_path / "jobs" / "3.json"
    cases = list(tampered(json.loads(path.read_text())))
    cases += hostile.fuzzed(path.read_bytes(), amount(10, 100), chance)

    def read(content):
        path.write_bytes(content)
        (read,) = jobs.read(tmp_path)
        jobs.closing_list([read, job]).encode()
        assert read.outcome in jobs.OUTCOMES

    read_all("jobs of sweeps", cases, read, {DataError: lambda case: path})


def test_prepared_files(read_all, tmp_path, chance, amount):
    paths = drawn.paths_in(tmp_path)
    good = drawn.load(paths)
    path = paths.prepared / "drawn.h5"
    whole = path.read_bytes()
    with h5py.File(path) as file:
        about = json.loads(file.attrs["maf_runner"])

    def with_about(text):
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            del file.attrs["maf_runner"]
            file.attrs["maf_runner"] = text
        return path.read_bytes()

    def with_entry(fill, name):
        path.write_bytes(whole)
        with h5py.File(path, "r+") as file:
            del file[name]
            fill(file)
            file.move("data", name)
        return path.read_bytes()

    cases = []
    for name, text in tampered(about):
        if len(text) < 60_000 and name not in ("UTF-16", "zeros", "no text"):  # h5py refuses
            cases.append((name, lambda text=text: with_about(text)))
    for name, fill in hostile.stores():
        for entry in ("train", "test_labels"):
            make = lambda fill=fill, entry=entry: with_entry(fill, entry)  # noqa: E731
            cases.append((f"{entry} {name}", make))
    cases += hostile.fuzzed(whole, amount(10, 200), chance)

    def read(content):
        path.write_bytes(content() if callable(content) else content)
        found = prepared.read(drawn.PREPARATION, paths, {"alpha": 0.1})
        assert found.fingerprint == good.fingerprint
        assert [rows.x.shape for rows in (found.train, found.test)] == [(40, 4), (6, 4)]

    refusals = {prepared.UnpreparedError: lambda case: path, DataError: lambda case: path}
    read_all("prepared files", cases, read, refusals, few=20)


@pytest.mark.parametrize("name", ["sample", "score", "plot", "table", "report"])
def test_installed_commands(results, installed, survived, name):
    """A handful, through the scripts themselves."""
    folder = results / ONE
    words = {
        "sample": [folder],
        "score": [folder, "x.npy"],
        "plot": ["density", folder],
        "table": ["--results", results],
        "report": ["--results", results],
    }[name]
    (folder / "record.json").write_bytes(b"[" * 200_000)
    (folder / "best.pt").write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
    done = installed(f"maf-{name}", *words)
    assert done.returncode == (0 if name in ("table", "report") else 3), done.stderr
    assert "Traceback" not in done.stderr and str(folder) in done.stderr
    assert not list(results.parent.rglob(hostile.MARKER))
    survived("hostile files given to installed commands", 1)
