"""Every YAML composes, and every option of a group builds what it names."""

import sys
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException

from maf_runner.experiment.settings import arguments, build, departures, from_config, target
from maf_runner.records.identity import run_id
from maf_runner.system.errors import UsageError
from maf_runner.training import TrainerSettings
from tests.helpers.settings import CONF, composed

GROUPS = sorted(p.name for p in CONF.iterdir() if p.is_dir() and p.name not in ("hydra", "local"))


TITLES = {
    "gaussian": "Gaussian",
    "made": "MADE",
    "made_mog": "MADE MoG",
    "maf": "MAF (5)",
    "conditional_maf": "MAF (5)",
    "maf_mog": "MAF MoG (5)",
    "iaf": "IAF (5)",
    "realnvp": "Real NVP (5)",
    "elementwise": "Elementwise (1), affine",
    "nsf": "NSF (10)",
    "nsf_coupling": "NSF coupling (10)",
    "binned_made": "Binned MADE",
}


def options(group):
    return sorted(
        p.relative_to(CONF / group).with_suffix("").as_posix()
        for p in (CONF / group).rglob("*.yaml")
    )


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in GROUPS for option in options(group)]
)
def test_every_file_composes_and_builds(group, option):
    added = "+" if group == "sweep" else ""
    needs = ["dataset.path=table.csv"] if option == "file" else []
    needs += ["trainer.teachers=[run]"] if option == "distilled" else []
    needs += ["device=cpu"] if group == "launch" else []  # else by the number of the job
    try:
        config = composed(f"{added}{group}={option}", *needs)
    except MissingConfigException as error:
        if "hydra/" not in str(error):
            raise
        pytest.skip(f"launch={option}: its extra is not installed")
    settings = from_config(config)
    assert isinstance(build("trainer", settings["trainer"]), TrainerSettings)
    if option.startswith("zuko/"):
        pytest.importorskip("zuko")
    model = build("model", settings["model"], features=5, context=0)
    chosen = {"mnist_made": "made", "plane": "nsf"}
    named = chosen[option] if group == "experiment" else option if group == "model" else "maf"
    assert model.title.replace("NSF (4)", "NSF (10)") == (
        f"zuko {named[5:].upper()}" if named.startswith("zuko/") else TITLES[named]
    )
    arguments("dataset", settings["dataset"], target("dataset", settings["dataset"]))
    if group in ("dataset", "model", "trainer"):
        assert settings[group]["name"] == option or option == "conditional_maf"
    if group == "dataset":  # the network is of the largest size that is searched on it
        assert settings["model"]["hidden"] == list(config.dataset.sizes)[-1]
        for key in ("activation", "degrees"):
            assert settings["model"][key] == config.dataset[key]
    if group == "model" and option != "gaussian":
        assert settings["trainer"]["learning_rate"] == config.model.paper_rate > 0


def test_run_id_depends_on_science_alone():
    base = run_id(from_config(composed()))
    same = composed(
        "device=cpu", "threads=1", "force=true", "paths.results_dir=/x", "model.size=1"
    )
    assert run_id(from_config(same)) == base
    assert run_id(from_config(composed("model.hidden=[100,100]"))) == base
    for other in ("seed=1", "model.size=0", "trainer.l2=0", "model.layers=4", "dataset.alpha=0.1"):
        assert run_id(from_config(composed(other))) != base


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.size=7", "model.size must be 0 to 1"),
        ("model.size=x", "model.size must be"),
        ("seed=-1", "seed must be a whole number"),
        ("threads=0", "threads must be a whole number from 1"),
        ("force=perhaps", "force must be true or false"),
        ("model.conditional=3", "model.conditional must be true, false or null"),
        ("+nonsense=1", "there is no setting 'nonsense'"),
        ("paths.results_dir=null", "paths.results_dir must be a folder"),
    ],
)
def test_impossible_settings_are_named(override, message):
    with pytest.raises(UsageError, match=message):
        from_config(composed(override))


def test_paths_become_absolute():
    settings = from_config(composed("paths.results_dir=here"))
    assert settings["paths"]["results_dir"] == str(Path.cwd() / "here")


def test_only_our_own_targets_are_built():
    with pytest.raises(
        UsageError, match=r"must name something in maf_runner\.flows, .*got 'os\.system'"
    ):
        build("model", {"_target_": "os.system", "command": "true"})


@pytest.mark.parametrize("name", ["base.torch", "base.cast", "made.MaskedLinear.x", "nothing.X"])
def test_nor_what_our_modules_have_only_imported(name):
    with pytest.raises(UsageError, match=r"model\._target_"):
        build("model", {"_target_": f"maf_runner.flows.{name}"}, features=2, context=0)


def test_the_class_of_ones_own_table_is_seen_by_the_first_variable(tmp_path):
    (tmp_path / "t.csv").write_text("a,k\n1,x\n2,y\n")
    own = ["dataset=file", f"dataset.path={tmp_path / 't.csv'}", "dataset.label=k", "model=made"]
    for conditional, mask in (("true", "full_context"), ("false", "paper")):
        settings = from_config(composed(*own, f"model.conditional={conditional}"))
        assert settings["model"]["mask"] == mask and not departures(settings, CONF)
    paper = from_config(composed("model=made", "model.conditional=true", "dataset=mnist"))
    assert paper["model"]["mask"] == "paper"


def test_departures_from_a_preset_are_known():
    overrides = ["trainer.l2=0", "model.mask=full_context", "model.layers=3", "seed=4"]
    settings = from_config(composed(*overrides, "dataset.alpha=0.1", "model.hidden=[3]"))
    assert sorted(departures(settings, CONF)) == [
        "dataset.alpha=0.1",
        "model.mask=full_context",
        "trainer.l2=0",
    ]
    assert departures(from_config(composed("model=made", "dataset=mnist")), CONF) == []
    # A limit cuts the paper's training short; that of a schedule is a setting as any other.
    assert departures(from_config(composed("trainer.max_epochs=3")), CONF) == []
    for limit in ("trainer.max_epochs=3", "trainer.max_updates=3"):
        assert departures(from_config(composed("trainer=tuned", limit)), CONF) == [limit]
    noise = from_config(composed("trainer.fresh_noise=true"))
    assert departures(noise, CONF) == ["trainer.fresh_noise=true"]


def test_of_nested_settings_only_those_that_differ_are_named():
    changed = ["model.settings.bins=4", "model.settings.hidden_features=[8]"]
    settings = from_config(composed("model=zuko/nsf", *changed, "+model.settings.passes=2"))
    assert departures(settings, CONF) == [*changed, "model.settings.passes=2"]
    assert departures(from_config(composed("model=zuko/nsf")), CONF) == []


MODULES = """
import sys
sys.argv = ["maf-run", "--help"]
try:
    {program}
except SystemExit:
    pass
print(*sys.modules, file=sys.stderr)
"""
EMPTY_APP = """hydra.main(version_base="1.3", config_path=None)(lambda config: None)()"""


def test_help_is_quick(installed):
    """It imports what an empty Hydra application imports, and nothing large beside."""

    def imported(program):
        told = installed("python", "-c", MODULES.format(program=program), check=0).stderr
        return set(told.splitlines()[-1].split())

    empty = imported(f"import hydra; {EMPTY_APP}")
    ours = imported("from maf_runner.commands.run import main; main()")
    added = {name.partition(".")[0] for name in ours - empty}
    assert "maf_runner" in added and "hydra" in {name.partition(".")[0] for name in ours}
    assert added <= {
        "maf_runner",
        "hydra",
        "omegaconf",
        "yaml",
        "antlr4",
        *sys.stdlib_module_names,
    }
    assert len(ours) < 1.3 * len(empty)


def test_help_is_in_the_users_words(installed):
    text = installed("maf-run", "--help", check=0).stdout
    for word in (
        *GROUPS,
        "model.layers",
        "model.size",
        "paths.raw_dir",
        "retry",
        "made_mog",
    ):
        assert word in text
