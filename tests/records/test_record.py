"""The record: what is read is what was written, and nothing but a record is read."""

import json
import math
from dataclasses import fields, replace

import pytest

from maf_runner.records.checks import is_figure
from maf_runner.records.record import Data, Record, UnreadableRecordError
from tests.helpers import ROOT
from tests.helpers.records import made_up

COMMITTED = sorted((ROOT / "results" / "records").glob("**/*.json"))
# In the order of the file; what else there is depends on how the run ended.
KEYS = [
    "schema", "run_id", "dataset", "model", "conditional", "features", "context", "parameters",
    "seed", "settings", "departures", "train_rows", "validation_rows", "test_rows", "data",
    "environment", "status", "test", "validation", "best_epoch", "epochs", "updates",
    "stop_reason", "resumed", "seconds",
]  # fmt: skip
DATA_KEYS = ["fingerprint", "recipe", "sources", "image", "class_prior", "table", "entropy"]


def whole():
    return made_up(
        features=4, context=0, parameters=9, train_rows=5, validation_rows=3, test_rows=2,
        environment={"device": "cpu"}, best_epoch=1, epochs=2, updates=10, resumed=0, seconds=1.5,
    )  # fmt: skip


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_records_are_read_without_loss(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    record = Record.read(path)
    again = record.as_json()
    assert not record.unknown and not record.data.unknown and record.finished
    assert [key for key in again if key != "divergence"] == KEYS
    assert ("divergence" in again) == (record.stop_reason == "diverged")
    assert list(again["data"]) == DATA_KEYS
    added = {key: again.pop(key) for key in set(again) - set(content)}
    assert added in ({}, {"departures": []})  # the first records had none
    for key in set(again["data"]) - set(content["data"]):
        assert again["data"].pop(key) in (None, {})
    assert again == content


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "record.json"
    failed = replace(whole(), status="failed", error="a bug", test={}, validation={})
    diverged = replace(failed, status="diverged", error=None, divergence={"of": "loss"})
    for record in (whole(), failed, diverged):
        record.write(path)
        read = Record.read(path)
        assert read == record and read.file == path and read.key == str(path)
    assert list(whole().as_json()) == KEYS
    assert not {"test", "error"} & diverged.as_json().keys()


def test_figures_that_are_not_finite_are_null(tmp_path):
    record = replace(whole(), status="diverged", test={"log_likelihood": math.nan})
    record.write(tmp_path / "record.json")
    assert Record.read(tmp_path / "record.json").test == {"log_likelihood": None}
    assert not any(map(is_figure, (math.nan, math.inf, None, "1", True, 1e39)))
    assert is_figure(0) and is_figure(-1e37)


def test_keys_of_a_later_version_survive(tmp_path):
    content = {**whole().as_json(), "later": [1], "file": "x", "unknown": {"a": 1}}
    content["data"] |= {"later": {"b": 2}}
    path = tmp_path / "record.json"
    path.write_text(json.dumps(content))
    record = Record.read(path)
    assert record.unknown == {"later": [1], "file": "x", "unknown": {"a": 1}}
    assert record.as_json() == content
    record.write(path)
    assert json.loads(path.read_text()) == content


OTHER = {str: 5, int: "5", float: "5", bool: "yes", dict: [1], list: {"a": 1}}


@pytest.mark.parametrize(
    "name", [f.name for f in fields(Record) if f.name not in ("unknown", "file")]
)
def test_every_field_has_its_type(tmp_path, name):
    content = {**whole().as_json(), "error": "a bug", "divergence": {"of": "loss"}}
    content |= {"quantity": "log p(y | x)"}
    content[name] = OTHER[type(content[name])]
    path = tmp_path / "record.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UnreadableRecordError, match=f"record.json has no valid '{name}'"):
        Record.read(path)


def test_every_field_of_the_data_has_its_type():
    data = {"fingerprint": "f", "recipe": "own", "sources": {}, "image": {}, "class_prior": [],
            "table": {}, "context": {"columns": []}, "entropy": 1.0}  # fmt: skip
    assert list(data) == [f.name for f in fields(Data) if f.name != "unknown"]
    for name, value in data.items():
        content = whole().as_json()
        content["data"] = {**data, name: OTHER[type(value)]}
        with pytest.raises(ValueError, match=f"has no valid 'data.{name}'"):
            Record.from_json(content)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"status": "running"}, "has an unknown status 'running'"),
        ({"departures": [1]}, "has no valid 'departures'"),
        ({"settings": {"model": {}, "dataset": {}}}, "has no valid settings.trainer"),
        ({"test": {"log_likelihood": 1.0}}, "is finished but has no finite test.error"),
        ({"test": {"log_likelihood": 1, "error": -1}}, "has a negative test.error"),
        ({"validation": {}}, "is finished but has no finite validation.log_likelihood"),
        ({"run_id": None}, "has no valid 'run_id'"),
        ({"data": None}, "has no valid 'data'"),
        ({"schema": 2}, "has schema 2; this version reads schema 1"),
    ],
)
def test_what_is_no_record_is_told(changes, told):
    with pytest.raises(ValueError, match=told):
        Record.from_json({**whole().as_json(), **changes})


def test_a_run_in_words():
    record = whole()
    assert record.title == "MADE on mnist"
    assert record.describe() == (
        "MADE on mnist: test -1380.00 ± 4.00 nats; 2 epochs, best 1, stopped by patience, 2 s"
    )
    assert record.score == -1370 and replace(record, status="failed").score == -math.inf
    given = replace(
        record,
        conditional=True,
        validation={"log_likelihood": 2.0, "marginal_log_likelihood": 1.0},
    )
    assert given.score == 1.0 and given.title == "MADE given the class on mnist"
