"""Pictures of densities given columns, of pairs of columns and of calibration: their numbers."""

import copy
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from maf_runner.commands import model_plots
from maf_runner.commands.plot import main
from maf_runner.experiment.calibration import calibration
from maf_runner.experiment.trained import TrainedRun
from maf_runner.flows.base import StandardNormal
from maf_runner.reporting.plots import calibration as calibrated
from maf_runner.reporting.plots import conditionals, pairs, pictures
from maf_runner.reporting.plots.drawing import Axis
from maf_runner.system.errors import UsageError
from tests.helpers.simulators import NOISE, linear, linear_log_prob, linear_mean

pytest.importorskip("matplotlib")
ALIKE = ["dataset=file", "dataset.path=engines.csv", "dataset.name=engines", "model.hidden=[32]",
         "dataset.categorical=[site]", "trainer=tuned", "trainer.max_epochs=20", "threads=1",
         "trainer.batch_size=200"]  # fmt: skip
GIVEN = pd.DataFrame({"rpm": [1200.0, 1700.0], "load": [0.4, 0.6], "site": ["NA", "north"]})


@pytest.fixture(scope="module")
def runs(server, tmp_path_factory):
    """Models of the linear simulator: given columns, of one column, of all; and bounded ones."""
    folder = tmp_path_factory.mktemp("model_plots")
    linear(20_000).to_csv(folder / "engines.csv", index=False)
    rng = np.random.default_rng(0)
    share = rng.beta(2, 3, 4000)
    bounded = pd.DataFrame({"share": share, "price": np.exp(share + rng.normal(size=4000))})
    bounded.to_csv(folder / "bounded.csv", index=False)

    def run(*words):
        return folder / server("maf-run", *words, cwd=folder, check=0).stdout.strip()

    return {
        "given": run(*ALIKE, "model=maf", "model.layers=2", "dataset.context=[rpm,load,site]"),
        "one": run(*ALIKE, "model=made_mog", "dataset.context=[y2,rpm,load,site]"),
        "all": run(*ALIKE, "model=maf", "model.layers=2"),
        "bounded": run("model=gaussian", "dataset=file", "dataset.path=bounded.csv",
                       "dataset.bounded={share: [0, 1], price: [0, null]}"),
        "line": run("model=gaussian", "dataset=toy/mixture1d"),
    }  # fmt: skip


@pytest.fixture
def drawn(monkeypatch):
    """What `conditionals.draw` and `pairs.draw` are given, instead of a picture."""
    given = []
    for module in (conditionals, pairs):
        monkeypatch.setattr(module, "draw", lambda figure, *arguments: given.append(arguments))
    return given


def divergence(log_prob, truth, ends):
    """KL(truth || model) in nats over a grid between ``ends``, and what the truth has there."""
    sides = [np.linspace(low, high, 151) for low, high in ends]
    rows = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, len(ends))
    cell = math.prod(side[1] - side[0] for side in sides)
    true, model = truth(rows), log_prob(rows)
    inside = np.exp(true) > 1e-12
    terms = np.exp(true[inside]) * (true[inside] - model[inside])
    return terms.sum() * cell, np.exp(true).sum() * cell, np.exp(model).sum() * cell


def test_densities_given_rows_are_those_of_the_simulator(runs, drawn, tmp_path):
    GIVEN.to_csv(tmp_path / "given.csv", index=False)
    words = ["--given", str(tmp_path / "given.csv"), "--out", str(tmp_path / "a.svg")]
    assert main(["density", str(runs["given"]), *words]) == 0
    ((panels, axes, ends),) = drawn
    assert [axis.name for axis in axes] == ["y1", "y2"]
    assert [p.title for p in panels] == [
        "rpm=1200, load=0.4, site=NA",
        "rpm=1700, load=0.6, site=north",
    ]
    for i, panel in enumerate(panels):
        row = GIVEN.iloc[[i]]

        def truth(y, row=row):
            known = row.loc[row.index.repeat(len(y))].reset_index(drop=True)
            return linear_log_prob(pd.DataFrame(y, columns=["y1", "y2"]).join(known))

        kl, true_mass, mass = divergence(panel.densities["MAF (2)"], truth, ends)
        assert true_mass > 0.99 and mass == pytest.approx(1, abs=0.01)
        assert abs(kl) < 0.03


def test_the_density_of_one_column_is_a_curve(runs, drawn, tmp_path):
    words = ["--given", "y2=0.5,rpm=1500,load=0.5,site=south", "--out", str(tmp_path / "a.png")]
    assert main(["density", str(runs["one"]), *words]) == 0
    (((panel,), (axis,), ends),) = drawn
    row = pd.DataFrame({"rpm": [1500.0], "load": [0.5], "site": ["south"]})
    (m1, m2), cov = linear_mean(row)[0], NOISE @ NOISE.T
    mean = m1 + cov[0, 1] / cov[1, 1] * (0.5 - m2)
    deviation = math.sqrt(cov[0, 0] - cov[0, 1] ** 2 / cov[1, 1])
    x, density = conditionals.curve(panel.densities["MADE MoG"], ends)
    true = np.exp(-0.5 * ((x - mean) / deviation) ** 2) / deviation / math.sqrt(2 * math.pi)
    assert axis.name == "y1" and np.trapezoid(density, x) == pytest.approx(1, abs=0.01)
    assert np.trapezoid(np.abs(density - true), x) < 0.1


def test_bounded_columns_have_the_density_of_their_units(runs, drawn, tmp_path):
    """Its integral over the plane is one; outside of the bounds there is none."""
    run = TrainedRun.load(runs["bounded"])
    log_prob = model_plots._log_prob_in_units(run)
    share, price = np.linspace(-0.1, 1.1, 601), np.linspace(-1, 60, 3001)
    rows = np.stack(np.meshgrid(share, price), axis=-1).reshape(-1, 2)
    density = np.exp(log_prob(rows))
    assert (density[(rows[:, 0] <= 0) | (rows[:, 0] >= 1) | (rows[:, 1] <= 0)] == 0).all()
    cell = (share[1] - share[0]) * (price[1] - price[0])
    assert density.sum() * cell == pytest.approx(1, abs=0.02)
    assert main(["density", str(runs["bounded"]), "--out", str(tmp_path / "a.svg")]) == 0
    text = (tmp_path / "a.svg").read_text()
    assert "<!-- share -->" in text and "<!-- price -->" in text and "x₁" not in text


def test_a_line_has_a_histogram_a_curve_and_the_truth(runs, tmp_path, drawn):
    assert main(["density", str(runs["line"]), "--out", str(tmp_path / "a.svg")]) == 0
    (((panel,), _, ends),) = drawn
    assert list(panel.densities) == ["true density", "Gaussian"] and len(panel.points) == 3000
    for log_prob in panel.densities.values():
        x, density = conditionals.curve(log_prob, ends)
        assert 0.94 < np.trapezoid(density, x) < 1.01


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("axes", [(Axis("a"), Axis("b")), None], ids=["named", "plane"])
def test_the_density_of_a_single_point_has_a_panel(axes, tmp_path):
    learned = pictures.Learned("one", np.zeros((1, 2)), {"model": lambda x: -(x[:, 0] ** 2)}, axes)
    pictures.densities(tmp_path / "a.png", [learned])
    assert (tmp_path / "a.png").stat().st_size > 0


def test_regions_hold_what_they_say():
    """On a normal density in the plane the region of level a ends at p(0) (1 - a)."""
    normal = lambda x: -0.5 * np.square(x).sum(axis=1) - math.log(2 * math.pi)  # noqa: E731
    _, _, density = conditionals.surface(normal, np.array([[-6.0, 6.0], [-6.0, 6.0]]))
    expected = [(1 - held) / (2 * math.pi) for held in conditionals.HELD]
    np.testing.assert_allclose(conditionals.heights(density), expected, rtol=0.03)
    assert conditionals.heights(np.zeros((5, 5))) is None


def test_pairs_show_samples_in_the_units_of_the_table(runs, drawn, tmp_path):
    out = ["--out", str(tmp_path / "a.png")]
    assert main(["pairs", str(runs["all"]), "--columns", "rpm,y1", "--n", "3000", *out]) == 0
    axes, (name, data), samples, _ = drawn.pop()
    assert [axis.name for axis in axes] == ["rpm", "y1"] and name == "2,000 test rows"
    (own,) = samples.values()
    assert own.shape == (3000, 2) and list(samples) == ["3,000 samples"]
    assert data[:, 0].min() > 999.9 and data[:, 0].max() < 2000.1
    np.testing.assert_allclose(own.mean(axis=0), data.mean(axis=0), rtol=0.03)
    np.testing.assert_allclose(np.cov(own.T), np.cov(data.T), rtol=0.15)

    assert main(["pairs", str(runs["given"]), *out]) == 0  # each sample given a test row
    _, (_, data), samples, _ = drawn.pop()
    (own,) = samples.values()
    np.testing.assert_allclose(np.cov(own.T), np.cov(data.T), atol=0.5)
    words = ["--given", "rpm=1200,load=0.4,site=NA"]
    assert main(["pairs", str(runs["given"]), *words, *out]) == 0
    _, _, samples, _ = drawn.pop()
    own = samples["rpm=1200, load=0.4, site=NA"]
    np.testing.assert_allclose(own.mean(axis=0), linear_mean(GIVEN[:1])[0], atol=0.15)
    np.testing.assert_allclose(np.cov(own.T), NOISE @ NOISE.T, atol=0.15)


def test_a_value_far_out_does_not_press_the_picture():
    rows = np.random.default_rng(0).normal(size=(1000, 2))
    rows[:3] = [[1e9, 0], [np.nan, 0], [0, -1e9]]
    ends = pairs.limits([rows])
    assert (ends[:, 0] > -4).all() and (ends[:, 1] < 4).all() and (ends[:, 1] > 2).all()


class Wide(StandardNormal):
    """Noise of standard deviation 1.5: a flow that ends in it is too wide, if it was right."""

    def forward(self, x, context=None):
        return super().forward(x / 1.5) - self.features * math.log(1.5)

    def standard_noise(self, x, context=None):
        return x / 1.5

    def _sample(self, n, context, generator):
        return 1.5 * super()._sample(n, context, generator)


def judged(run):
    """KS distances over what a right model stays below: the largest of the PITs, coverage."""
    found = calibration(run, run.data().test, draws=199, seed=0)
    rows, features = found.pit.shape
    assert (rows, features) == (2000, run.model.features)
    shared = found.draws if found.shared else None
    pit = max(calibrated.distance(column) for column in found.pit.T)
    return (
        pit / calibrated.critical(rows),
        calibrated.distance(found.levels) / calibrated.critical(rows, shared),
        found,
    )


@pytest.mark.parametrize(("name", "by_draws"), [("given", True), ("all", False)])
def test_calibration_knows_a_right_model_from_a_wrong_one(runs, name, by_draws):
    """The second differs by the width of its noise alone; its density and draws fit each other."""
    run = TrainedRun.load(runs[name])
    pit, coverage, found = judged(run)
    assert pit < 1 and coverage < 1 and found.by_draws == by_draws
    model = copy.deepcopy(run.model)
    model.base = Wide(model.features)
    pit, coverage, found = judged(replace(run, model=model))
    assert pit > 2 and coverage > 2
    low, high = calibrated.band(2000)
    shares = calibrated.histogram(found.pit[:, 0])
    assert shares[0] < low and shares[-1] < low and shares[9] > high  # a hill: too wide
    table = pd.DataFrame(
        calibrated.table(calibrated.Places(["y1"], found.pit[:, :1], found.levels, None))
    )
    inside = table[table.quantity == "coverage"].set_index("level")
    assert inside.share[0.5] > inside.high[0.5]  # wide regions hold more rows than they say


def test_places_of_a_right_model_are_uniform_by_any_number_of_draws(runs):
    """One draw a row: half of the test rows lie below it, and the band still fits."""
    run = TrainedRun.load(runs["given"])
    found = calibration(run, run.data().test, draws=1, seed=3)
    for places in (*found.pit.T, found.levels):
        assert calibrated.distance(places) < 1.3 * calibrated.critical(2000)


@pytest.mark.parametrize("name", ["given", "all"])
def test_draws_of_equal_density_are_no_verdict(runs, name, monkeypatch):
    """The density of a model of bins is constant in pieces: there no row is denser than others."""
    run = TrainedRun.load(runs[name])
    monkeypatch.setattr(
        TrainedRun, "log_prob", lambda self, rows, context=None: np.zeros(len(rows))
    )
    found = calibration(run, run.data().test, draws=9, seed=0)
    assert calibrated.distance(found.levels) < calibrated.critical(2000)


def test_calibration_of_a_model_without_noise_is_by_draws(runs, monkeypatch):
    run = TrainedRun.load(runs["all"])
    monkeypatch.setattr(type(run.model), "has_standard_noise", False)
    found = calibration(run, run.data().test, draws=1, seed=0)
    assert found.by_draws and found.shared and found.draws == 10_000
    limit = calibrated.critical(2000, found.draws)
    assert max(calibrated.distance(column) for column in found.pit.T) < limit


def test_the_command_writes_numbers_and_names(runs, tmp_path, capsys):
    outs = [tmp_path / name for name in ("a.csv", "b.svg")]
    words = [word for out in outs for word in ("--out", str(out))]
    assert main(["calibration", str(runs["given"]), *words]) == 0
    table = pd.read_csv(outs[0])
    pit = table[table.quantity == "pit"]
    np.testing.assert_allclose(pit.groupby("column").share.sum(), 1)
    assert list(pit.groupby("column").size()) == [20, 20]
    assert ((pit.share >= pit.low) & (pit.share <= pit.high)).mean() > 0.85  # 95 % by chance
    inside = table[table.quantity == "coverage"]
    assert ((inside.share >= inside.low) & (inside.share <= inside.high)).all()
    text = outs[1].read_text()
    assert "ranks among 199 draws given the context of the row" in text
    assert all(f"<!-- {name} -->" in text for name in ("y1", "y2", "coverage"))
    assert main(["calibration", str(runs["all"]), "--out", str(outs[1])]) == 0
    assert "Φ(u) of each dimension of the noise u" in outs[1].read_text()


def test_weighted_rows_are_refused(runs):
    run = TrainedRun.load(runs["given"])
    test = run.data().test
    with pytest.raises(UsageError, match="have weights"):
        calibration(run, replace(test, weights=np.ones(len(test))), draws=9, seed=0)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["density", "given"], 2, "conditioned on rpm, load, site: give their values, as --given"),
        (["density", "given", "line"], 2, "one run at a time where columns are given"),
        (["density", "bounded", "line"], 2, "the runs must all have one column, or all two"),
        (["density", "all"], 2, "maf-plot pairs shows samples of more"),
        (["density", "given", "--given", "THIRTEEN"], 2, "--given has 13 rows, and a picture has"),
        (["pairs", "given", "--given", "THIRTEEN"], 2, "maf-plot pairs has colours for 7"),
        (["pairs", "given", "--columns", "y1,rpm"], 2, "this run models no column 'rpm'"),
        (["calibration", "all", "line"], 2, "maf-plot: calibration takes one run folder"),
    ],
)
def test_what_cannot_be_is_said(runs, tmp_path, capsys, words, code, said):
    GIVEN.iloc[[0] * 13].to_csv(tmp_path / "g.csv", index=False)
    known = {**runs, "THIRTEEN": tmp_path / "g.csv"}
    assert main([words[0], *(str(known.get(word, word)) for word in words[1:])]) == code
    said_lines = capsys.readouterr().err.splitlines()
    assert len(said_lines) == 1 and said in said_lines[0]


def test_beyond_the_training_rows_is_said(runs, tmp_path, capsys):
    words = ["--given", "rpm=9000,load=0.5,site=NA", "--out", str(tmp_path / "a.png")]
    assert main(["density", str(runs["given"]), *words]) == 0
    assert "outside of the training rows: rpm = 9000" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["pairs", "calibration"])
def test_without_the_data_one_line_says_so(runs, tmp_path, capsys, what):
    table = Path(runs["given"]).parents[4] / "engines.csv"
    aside = table.rename(tmp_path / "engines.csv")
    try:
        assert main([what, str(runs["given"]), "--out", str(tmp_path / "a.png")]) == 3
    finally:
        aside.rename(table)
    (line,) = capsys.readouterr().err.splitlines()
    assert "engines.csv" in line and not (tmp_path / "a.png").exists()


def test_noise_of_a_model_given_columns(runs, tmp_path):
    assert main(["noise", str(runs["given"]), "--out", str(tmp_path / "a.svg")]) == 0
    drawn = (tmp_path / "a.svg").read_text()
    assert "2 dimensions of u, the farthest first, 2,000 test rows" in drawn
    assert "u of y1 " in drawn and "u of y2 " in drawn


def test_samples_of_a_model_that_is_given_columns_are_other_pictures(runs, capsys):
    assert main(["samples", str(runs["given"])]) == 2
    said = capsys.readouterr().err
    assert f"maf-plot density {runs['given']} --given rpm=VALUE,load=VALUE,site=VALUE" in said
    assert f"or maf-plot pairs {runs['given']}" in said


def test_samples_of_a_table_are_in_its_units(runs, tmp_path):
    assert main(["samples", str(runs["bounded"]), "--out", str(tmp_path / "a.svg")]) == 0
    texts = set(re.findall("<!-- (.*) -->", (tmp_path / "a.svg").read_text()))
    assert {"share", "price", "test rows", "0.5"} <= texts
