"""Parameters that were saved once can be loaded for ever: their names and shapes are frozen."""

import json
from pathlib import Path

import pytest
import torch

from tests.helpers.models import MODELS

FROZEN = json.loads(Path(__file__).with_name("states.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FROZEN)
def test_a_state_saved_by_an_earlier_version_is_loaded(name):
    made, _, conditional = name.partition(" ")
    model = MODELS[made].make(5, context=3 if conditional else 0)
    old = model.state_dict()
    # The order counts too: a checkpoint holds Adam's moments in one row, parameter by parameter.
    assert [(key, list(value.shape)) for key, value in old.items()] == list(FROZEN[name].items())
    saved = {
        key: old[key] if "degrees" in key else torch.full(shape, 0.5, dtype=old[key].dtype)
        for key, shape in FROZEN[name].items()
    }
    model.load_state_dict(saved)
    assert all(torch.equal(value, saved[key]) for key, value in model.state_dict().items())
