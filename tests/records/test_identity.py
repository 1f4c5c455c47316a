"""The ids of the committed records are frozen, and the names in them still lead to code."""

import json

import pytest

from maf_runner.experiment.settings import target
from maf_runner.records.identity import digest
from tests.helpers import ROOT

RECORDS = sorted((ROOT / "results" / "records").glob("**/*.json"))


def test_there_are_records():
    assert len(RECORDS) >= 71


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_committed_record_keeps_its_id_and_its_names(path):
    entry = json.loads(path.read_text(encoding="utf-8"))
    assert digest(entry["settings"]) == entry["run_id"]
    named = {group: node for group, node in entry["settings"].items() if isinstance(node, dict)}
    assert set(named) == {"dataset", "model", "trainer"}
    for group, node in named.items():
        assert callable(target(group, node))
