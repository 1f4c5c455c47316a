"""Presets as they are composed, the run ids they lead to, and defaults that came later."""

import dataclasses
import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from maf_runner.experiment import overrides, presets
from maf_runner.experiment.groups import BUILT, GROUPS
from maf_runner.experiment.settings import arguments, build, departures, from_config, target
from maf_runner.flows import MAF, MADEMoG
from maf_runner.records.identity import LATER_DEFAULTS, run_id, scientific
from maf_runner.system.errors import UsageError
from maf_runner.training import TrainerSettings
from tests.helpers import ROOT

CONF = ROOT / "conf"
IDS = json.loads(Path(__file__).with_name("ids.json").read_text(encoding="utf-8"))


def settings(*words):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return from_config(compose("config", overrides=list(words)))


def test_presets_lead_to_the_run_ids_they_always_led_to():
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        for words, expected in IDS.items():
            assert run_id(from_config(compose("config", overrides=words.split()))) == expected, (
                words
            )


def test_a_later_default_leaves_the_id_alone(tmp_path):
    (tmp_path / "x.csv").touch()
    usual = settings("dataset=file", f"dataset.path={tmp_path / 'x.csv'}")
    for group, later in LATER_DEFAULTS.items():
        for key, value in later.items():
            assert usual[group].get(key, value) == value  # not every model has it
            without = {k: v for k, v in usual[group].items() if k != key}
            given = {**usual[group], key: value}
            assert scientific({**usual, group: without}) == scientific({**usual, group: given})
            other = {**usual[group], key: str(tmp_path / "x.csv")}
            assert run_id({**usual, group: other}) != run_id(usual)


@pytest.mark.parametrize("option", presets.options("trainer"))
def test_a_preset_of_a_trainer_names_every_setting(option):
    fields = {field.name: field for field in dataclasses.fields(TrainerSettings)}
    named = presets.settings("trainer", option)
    assert set(named) - GROUPS["trainer"].runner - {"_target_"} == set(fields)
    for key, value in LATER_DEFAULTS["trainer"].items():
        assert fields[key].default == value


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in BUILT for option in presets.options(group)]
)
def test_a_preset_is_what_hydra_composes(group, option):
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        composed = compose(f"{group}/{option}")[group]
    assert presets.preset(group, option) == composed
    assert "defaults" not in presets.settings(group, option)


def test_departures_from_a_preset_that_builds_on_another():
    assert departures(settings("model=iaf"), CONF) == []
    changed = settings("model=maf_mog", "model.components=3", "model.batch_norm=false")
    assert sorted(departures(changed, CONF)) == [
        "model.batch_norm=false",
        "model.components=3",
    ]


def test_settings_of_the_network_are_checked_by_name():
    node = settings("model=maf")["model"]
    assert {"hidden", "mask", "layers"} <= set(arguments("model", node, MAF))
    with pytest.raises(UsageError, match=r"no setting model\.maskk; did you mean 'mask'\?"):
        arguments("model", {**node, "maskk": "paper"}, MAF)
    with pytest.raises(UsageError, match=r"needs a setting model\.degrees"):
        arguments("model", {k: v for k, v in node.items() if k != "degrees"}, MAF)
    for name in ("network", *GROUPS["model"].given):
        with pytest.raises(UsageError, match=rf"no setting model\.{name}"):
            build("model", {**node, name: 3}, features=2, context=0)
    reversible = {**settings("model=made_mog")["model"], "reverse": True}
    assert arguments("model", reversible, target("model", reversible))["reverse"] is True
    assert isinstance(build("model", reversible, features=2, context=0), MADEMoG)


def test_a_setting_added_that_is_there_already(command):
    message = command("maf-run", "+trainer.averaging=0.5", check=2).stderr
    expected = "trainer.averaging has a value already: change it with trainer.averaging=VALUE"
    assert expected in message


def test_holders_of_a_setting_include_those_that_take_it_from_another_preset():
    message = overrides.explained("Could not override 'model.batch_norm'.")
    assert all(f"model={name}" in message for name in ("maf", "iaf", "maf_mog", "realnvp"))
