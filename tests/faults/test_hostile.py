"""Files from strangers: whatever is in them, nothing runs, and the user is told which file."""

import pickle

import hostile
import numpy as np
import pytest

from maf_runner.datasets import pickles
from maf_runner.errors import DataError


@pytest.fixture
def read_all(tmp_path, survived, amount, chance):
    """Read hostile files, all or a few, and look at what became of them."""

    def of_kind(kind, cases, read, refusals, *, few=25, ending="x"):
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
    read_all("pickles", cases, lambda c: load(c, "x.pkl"), {DataError: lambda c: "x.pkl"}, few=60)
