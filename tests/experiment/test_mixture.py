"""Several runs as one density: scored, sampled and refused as a user meets it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp

from maf_runner.commands import score
from maf_runner.engine.rows import Evaluator, log_prob_of_rows, sample
from maf_runner.experiment.mixture import Mixture, load_trained
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows import MAF, Gaussian
from maf_runner.flows.uniform import UniformMixture, Units
from maf_runner.system.errors import UsageError

SMALL = ("model.layers=2", "model.hidden=[8]", "trainer.max_epochs=1", "threads=1")


def people(n, *, centre, spread, seed):
    rng = np.random.default_rng(seed)
    u = rng.normal(size=(n, 2)) @ [[1, 0.5], [0, 1]]
    frame = pd.DataFrame(u * spread + centre, columns=["income", "height"])
    kind = np.where(rng.random(n) < 0.25, "rare", "usual")
    age = np.where(rng.random(n) < 0.1, np.nan, 40 + 10 * u[:, 0] + rng.normal(size=n))
    return frame.assign(kind=kind, age=age, share=rng.uniform(0.1, 0.9, n))


@pytest.fixture(scope="module")
def runs(server, tmp_path_factory):
    """Runs on two tables of the same columns whose standardisations have little in common."""
    folder = tmp_path_factory.mktemp("mixture")
    table = people(300, centre=(5e6, 170), spread=(2e3, 8), seed=0)
    table.to_csv(folder / "a.csv", index=False)
    table.round({"height": 0}).to_csv(folder / "rounded.csv", index=False)
    people(300, centre=(6e6, 100), spread=(9e4, 1), seed=1).to_csv(folder / "b.csv", index=False)

    def run(file, *words):
        words = ["dataset=file", f"dataset.path={file}", *words]
        return Path(server("maf-run", *words, cwd=folder, check=0).stdout.strip())

    maf = ("model=maf", *SMALL)
    two = "dataset.columns=[income,height]"
    label = ("model=gaussian", two, "dataset.label=kind", "model.conditional=true")
    age = ("dataset.columns=[income,height]", "dataset.context=[kind,age]",
           "dataset.missing=indicator")  # fmt: skip
    toy = ("model=gaussian", "dataset=toy/moons", "threads=1")
    toys = [
        Path(server("maf-run", *words, cwd=folder, check=0).stdout.strip())
        for words in (toy, (*toy[:1], "dataset=toy/banana", *toy[2:]))
    ]
    return {
        "folder": folder,
        "gaussian": run("a.csv", "model=gaussian", two),
        "maf": run("a.csv", *maf, two),
        "other": run("b.csv", *maf, two, "seed=1"),
        "turned": run("a.csv", "model=gaussian", "dataset.columns=[height,income]"),
        "steps": run("rounded.csv", "model=gaussian", two, "dataset.dequantise=[height]"),
        "bounded": run("a.csv", "model=gaussian", two, "dataset.bounded={height: [0,null]}"),
        "class": run("a.csv", *label),
        "class, other": run("b.csv", *label),
        "class, shares": run("a.csv", *label, "dataset.class_prior=empirical"),
        "given": run("a.csv", *maf, *age),
        "given, other": run("b.csv", *maf, *age),
        "given one": run("a.csv", *maf, two, "dataset.context=[kind]"),
        "moons": toys[0],
        "banana": toys[1],
    }


@pytest.fixture
def scored(runs, tmp_path):
    """What maf-score writes for some of the runs; called here, which is faster."""

    def columns(*names, words=()):
        out = tmp_path / "s.csv"
        given = [*(runs[name] for name in names), runs["folder"] / "both.csv", "--out", out]
        assert score.main([*map(str, given), *words]) == 0
        return pd.read_csv(out)

    parts = [pd.read_csv(runs["folder"] / name).head(50) for name in ("a.csv", "b.csv")]
    pd.concat(parts).to_csv(runs["folder"] / "both.csv", index=False)
    return columns


def mixed(parts):
    return logsumexp(parts, axis=0) - np.log(len(parts))


def test_its_record_has_no_figures_of_one_run(runs):
    record = load_trained([runs["gaussian"], runs["maf"]]).record
    assert record.run_id == f"{runs['gaussian'].name} {runs['maf'].name}"
    assert record.title == "mixture of 2 runs on file"
    assert not record.test and not record.validation and record.parameters is None


@pytest.mark.parametrize("native", [True, False])
def test_known_values_and_other_units(native):
    """N(0, 1), N(3, 1) in units of a half, and a density that overflows, which counts as 0."""
    one, other, lost = (Gaussian(1).eval() for _ in range(3))
    other.mean.fill_(3.0)
    lost.mean.fill_(np.nan)
    scale, shift = torch.tensor([2.0], dtype=torch.float64), torch.tensor([1.0])
    mixture = UniformMixture([one, other, lost], [None, Units(scale, shift.double()), None])
    x = torch.tensor([[0.0], [1.0], [-60.0]], dtype=torch.float64)
    normal = torch.distributions.Normal(0.0, 1.0)
    densities = normal.log_prob(x).exp() + 2 * normal.log_prob(2 * x + 1 - 3).exp()
    expected = (densities / 3).log().squeeze(1)
    expected[2] = -1800 - np.log(np.sqrt(2 * np.pi)) - np.log(3)  # both underflow
    found = log_prob_of_rows(mixture.eval(), x, native=native)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-6)
    torch.testing.assert_close(mixture.log_prob(x), found)


def test_samples_are_of_a_part_chosen_at_random():
    one, other = Gaussian(2).eval(), Gaussian(2).eval()
    units = Units(torch.tensor([2.0, 1.0]).double(), torch.tensor([-200.0, 0.0]).double())
    mixture = UniformMixture([one, other], [None, units]).eval()  # the other lies at 100
    generator = torch.Generator().manual_seed(1)
    x = sample(mixture, 20_000, generator=generator)
    far = x[:, 0] > 50
    assert abs(far.double().mean() - 0.5) < 0.015
    assert abs(far[:1000].double().mean() - 0.5) < 0.07  # in no order
    assert abs(x[far, 0].mean() - 100) < 0.03 and abs(x[far, 0].std() - 0.5) < 0.02
    again = mixture.sample(20_000, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(again, x)


def test_the_native_engine_computes_the_parts():
    torch.manual_seed(0)
    layout = {"hidden": [8], "activation": "relu", "degrees": "sequential", "mask": "paper"}
    parts = [MAF(3, layers=2, batch_norm=True, **layout).eval() for _ in range(2)]
    mixture, x = UniformMixture(parts).eval(), torch.randn(500, 3)
    evaluator = Evaluator(mixture)
    direct = torch.stack([log_prob_of_rows(part, x) for part in parts]).logsumexp(0) - np.log(2)
    torch.testing.assert_close(evaluator(x), direct)
    torch.testing.assert_close(evaluator(x), mixture(x).double(), atol=1e-4, rtol=1e-5)


def test_scores_are_those_of_the_runs_in_the_units_of_the_table(scored):
    """Three models, two of them standardised by another table."""
    names = ("gaussian", "maf", "other")
    alone = [scored(name)["log_prob_nats"] for name in names]
    together = scored(*names)
    np.testing.assert_allclose(together["log_prob_nats"], mixed(alone), atol=1e-6)
    first = scored("gaussian")
    moved = together["log_prob_nats"] - together["log_prob_nats_standardised"]
    np.testing.assert_allclose(moved, (first.log_prob_nats - first.log_prob_nats_standardised))
    turned = scored("other", "maf", "gaussian")["log_prob_nats"]
    np.testing.assert_allclose(turned, together["log_prob_nats"], atol=1e-6)


def test_given_the_class(scored, runs):
    """The marginal, the density given each class, and the likeliest class of the mixture."""
    alone = [scored(name) for name in ("class", "class, other")]
    together = scored("class", "class, other")
    for column in ("log_prob_nats", "log_prob_nats_class_rare", "log_prob_nats_class_usual"):
        expected = mixed([frame[column] for frame in alone])
        np.testing.assert_allclose(together[column], expected, atol=1e-6)
    rare = together.log_prob_nats_class_rare > together.log_prob_nats_class_usual
    assert (together.likeliest_class == np.where(rare, "rare", "usual")).all()
    labelled = scored("class", "class, other", words=("--label", "rare"))["log_prob_nats"]
    np.testing.assert_allclose(labelled, together.log_prob_nats_class_rare, atol=1e-6)


def test_given_columns(scored, runs, command, tmp_path):
    """The context has another standardisation too, and missing values that are flagged."""
    alone = [scored(name)["log_prob_nats"] for name in ("given", "given, other")]
    assert pd.read_csv(runs["folder"] / "both.csv")["age"].isna().any()
    together = scored("given", "given, other")["log_prob_nats"]
    np.testing.assert_allclose(together, mixed(alone), atol=1e-5)
    paths = runs["given"], runs["given, other"]
    command("maf-sample", *paths, "--given", "kind=rare,age=50", "--n", 200, check=0)
    incomes = pd.read_csv(tmp_path / "samples.csv")["income"]
    assert 60 < (incomes < 5.3e6).sum() < 140


def test_samples_are_of_all_runs_in_the_units_of_the_table(runs, command, tmp_path):
    paths = runs["maf"], runs["other"]
    for file in ("one.csv", "two.csv"):
        command("maf-sample", paths[0], "--n", 400, "--seed", 3, paths[1], "--out", file, check=0)
    drawn = pd.read_csv(tmp_path / "one.csv")
    pd.testing.assert_frame_equal(drawn, pd.read_csv(tmp_path / "two.csv"))
    assert 150 < (drawn["income"] < 5.3e6).sum() < 250
    command("maf-sample", *paths, "--n", 400, "--seed", 4, "--out", "two.csv", check=0)
    assert not drawn.equals(pd.read_csv(tmp_path / "two.csv"))


def test_data_without_a_table(runs, command, tmp_path):
    """Points in the plane: a sample with its picture, scored with its percentile."""
    command("maf-sample", runs["moons"], "--n", 50, check=0)
    command("maf-score", runs["moons"], "samples.npy", "--percentile", check=0)
    run = load_trained([runs["moons"]])
    assert type(run) is TrainedRun and not isinstance(run, Mixture)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("gaussian", "turned"), "its columns are height, income, those of the other income, hei"),
        (("gaussian", "steps"), "the dequantised values of column 'height' are not the same"),
        (
            ("gaussian", "bounded"),
            "column 'height' has the bounds 0, none, in the other none, none",
        ),
        (("gaussian", "moons"), "is a run on data that are no table, the other on your own table"),
        (("moons", "banana"), "its data (toy/banana) are not those of the other (toy/moons)"),
        (("gaussian", "class"), "its model is given the class, that of the other nothing"),
        (("class", "class, shares"), "the shares of its classes are "),
        (("given", "given one"), "its model is given kind, that of the other kind, age"),
        (("maf", "maf"), "is named twice"),
    ],
)
def test_what_cannot_be_mixed_is_refused_and_says_what_differs(runs, names, said):
    with pytest.raises(UsageError) as refused:
        load_trained([runs[name] for name in names])
    assert said in str(refused.value)
    assert str(runs[names[-1]]) in str(refused.value)


def test_refusals_of_the_commands(runs, command):
    done = command("maf-score", runs["maf"], runs["turned"], runs["folder"] / "a.csv", check=2)
    assert "cannot be mixed with" in done.stderr and "Traceback" not in done.stderr
    command("maf-sample", runs["maf"], runs["moons"], check=2)
    different = runs["maf"], runs["other"], runs["folder"] / "a.csv"
    done = command("maf-score", *different, "--percentile", check=2)
    assert "were trained on different rows" in done.stderr
    same = runs["maf"], runs["gaussian"], runs["folder"] / "a.csv"
    command("maf-score", *same, "--percentile", check=0)
