"""Pictures of results and of trained models, by the command."""

import math
import re
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from maf_runner.commands.plot import main
from maf_runner.records import entries
from maf_runner.reporting.comparison.cells import comparison
from maf_runner.reporting.plots import curves, dots, normality, pictures
from maf_runner.reporting.plots.drawing import drawing, in_order
from tests.helpers.records import keep, run

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def results(server, tmp_path_factory):
    """Short runs: on pictures, given the class, and on points."""
    folder = tmp_path_factory.mktemp("plot")
    for words in (
        ["dataset=digits", "model=maf", "model.layers=2"],
        ["dataset=digits", "model=made_mog", "model.conditional=true"],
        ["dataset=toy/moons", "model=made_mog"],
        ["dataset=toy/moons", "model=gaussian"],
        ["dataset=toy/moons", "model=maf", "model.layers=2"],
        ["dataset=toy/circles", "model=gaussian"],
    ):
        short = [] if words[-1] == "model=gaussian" else ["trainer.max_epochs=2"]
        server("maf-run", *words, *short, cwd=folder, check=0)
    return folder / "results"


def runs(results, dataset):
    folders = results.glob(f"runs/{dataset}/**/record.json")
    return sorted(path.parent for path in folders)


def is_picture(path):
    if path.suffix == ".pdf":
        return path.read_bytes().startswith(b"%PDF")
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("L"))
    return pixels.shape[0] > 200 and pixels.std() > 5


def shown_in(path):
    """The texts in an SVG, and how many images, curves and marks it draws."""
    svg = path.read_text()
    return re.findall("<!-- (.*) -->", svg), len(re.findall("<(?:image|path|use)", svg))


@pytest.mark.parametrize(
    ("what", "dataset", "texts"),
    [
        ("curves", None, ["digits", "digits, class", "toy/moons", "MAF (2)", "MADE MoG", "epoch"]),
        ("comparison", None, ["digits", "toy/moons", "toy/circles", "Gaussian", "nats"]),
        ("curves", "digits", ["digits", "MAF (2)", "MADE MoG"]),
        ("noise", "digits", ["quantile of u", "u₁", "MAF (2) on digits", "MADE MoG"]),
        ("noise", "toy-moons", ["u₁", "u₂", "Gaussian on toy/moons", "MADE MoG on toy/moons"]),
        ("layers", "toy-moons/maf", ["data", "after layer 1", "noise", "MAF (2) on toy/moons"]),
        ("samples", "digits", ["digits, test", "MAF (2) on digits", "MADE MoG"]),
        ("samples", "toy-moons", ["x₁", "Gaussian on toy/moons", "MADE MoG on toy/moons"]),
        ("density", "toy-moons", ["toy/moons", "x₂", "Gaussian", "MADE MoG", "density"]),
        ("density", "toy-*", ["toy/moons", "toy/circles", "Gaussian", "MADE MoG", "true density"]),
    ],
)
def test_pictures(results, tmp_path, command, what, dataset, texts):
    chosen = runs(results, dataset) if dataset else ["--results", results]
    outs = [word for name in ("a.png", "b.pdf", "c.svg") for word in ("--out", name)]
    done = command("maf-plot", what, *chosen, *outs, check=0)
    assert done.stdout.split() == ["a.png", "b.pdf", "c.svg"]
    assert is_picture(tmp_path / "a.png") and is_picture(tmp_path / "b.pdf")
    there, marks = shown_in(tmp_path / "c.svg")
    missing = [text for text in texts if not any(line.startswith(text) for line in there)]
    assert not missing, there
    images = (tmp_path / "c.svg").read_text().count("<image")
    wanted = {"density": len(chosen), "samples": 3 * (dataset == "digits")}  # and real digits
    assert marks > 40 and images >= wanted.get(what, 0)


def test_a_density_is_drawn_where_it_is():
    """Of a spike at (1, -2): what a pixel shows is the density at its place."""
    spike = lambda x: -np.square((x - [1.0, -2.0]) / 0.3).sum(axis=1)  # noqa: E731
    points = np.random.default_rng(0).uniform(-3, 3, size=(400, 2))
    with drawing(6, 3) as figure:
        pictures._densities(figure.subfigures(), pictures.Learned("d", points, {"M": spike}), 2)
        left, right, *_ = figure.axes
        (image,) = right.images
        values, (low, high, bottom, top) = np.asarray(image.get_array()), image.get_extent()
        row, column = np.unravel_index(values.argmax(), values.shape)
        assert image.origin == "lower" and values.max() == pytest.approx(1, abs=0.01)
        place = np.linspace(low, high, 300)[column], np.linspace(bottom, top, 300)[row]
        np.testing.assert_allclose(place, [1, -2], atol=0.02)
        np.testing.assert_array_equal(left.collections[0].get_offsets(), points)


def test_the_same_picture_is_the_same_file(results, tmp_path, command):
    for out in ("a.svg", "b.svg"):
        command("maf-plot", "curves", "--results", results, "--out", out, check=0)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["noise"], 2, "needs at least one run folder"),
        (["curves", "--out", "a.gif"], 2, "--out must end in .png or .pdf or .svg"),
        (["samples", "DIGITS", "MOONS"], 2, "images of one size, or of points"),
        (
            ["density", "DIGITS"],
            2,
            "has 64 columns, and a density is drawn of one or two; maf-plot pa",
        ),
        (["pairs", "DIGITS", "MOONS"], 2, "maf-plot: pairs takes one run folder"),
        (
            ["pairs", "MOONS", "--columns", "x1,x3"],
            2,
            "this run models no column 'x3'; did you mean",
        ),
        (["layers", "GAUSSIAN"], 2, "only a flow of points in the plane"),
        (["density", "MOONS", "--given", "a=1"], 2, "--given: this model is given"),
        (["noise", "MOONS", "--given", "a=1"], 2, "--given is for maf-plot density and pairs"),
        (["density", "MOONS", "--columns", "x1"], 2, "--columns is for maf-plot pairs"),
        (["pairs", "MOONS", "--out", "a.csv"], 2, "--out must end in .png or .pdf or .svg, got"),
        (["samples", "DIGITS", "--n", "0"], 2, "--n must be at least 1"),
        (["noise", "nowhere"], 3, "is not a run folder"),
        (["curves", "--results", "nowhere"], 3, "maf-run model=gaussian"),
        (["curves", "nowhere"], 3, "nowhere cannot be opened"),
        (["curves", "GAUSSIAN"], 3, "a Gaussian has none"),
        (["curves", "ID", "--results", "RESULTS"], 3, "a Gaussian has none"),
        (["curves", "--out", "no/such/folder.png", "DIGITS"], 3, "cannot be written"),
    ],
)
def test_what_cannot_be_is_said(results, capsys, words, code, said):
    moons = runs(results, "toy-moons")
    known = {"DIGITS": runs(results, "digits")[0], "MOONS": moons[0]}
    known["GAUSSIAN"] = next(run for run in moons if run.parent.name == "gaussian")
    known |= {"ID": known["GAUSSIAN"].name[:10], "RESULTS": results}
    assert main([str(known.get(word, word)) for word in words]) == code
    assert said in capsys.readouterr().err


def test_noise_says_where_the_data_are_missing(results, tmp_path, command):
    run = tmp_path / "run"
    shutil.copytree(runs(results, "digits")[0], run)
    (run / "config.yaml").write_text("just: words\n")
    result = command("maf-plot", "noise", run, check=3)
    assert "does not say where the data of this run are" in result.stderr
    command("maf-plot", "samples", run, check=0)  # real images beside them are not needed


def test_a_damaged_curve_is_named_and_left_out(results, tmp_path, command):
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    damaged = runs(folder, "digits")[0] / "history.csv"
    damaged.write_text(damaged.read_text() + "3,4")
    result = command("maf-plot", "curves", "--results", folder, check=0)
    assert f"left out: {damaged} is no learning curve" in result.stderr


def test_runs_that_are_named_are_all_drawn(tmp_path, capsys):
    """Two seeds of one model, though a table would show one of them; dollars are no formula."""
    for seed in (0, 1):
        rows = np.linspace(-1, 1, 10)
        entry = run(f"{seed}", rows, 0.0, hidden=[8, 8], seed=seed, model=r"$\frac")
        path = keep(tmp_path, entry).with_name("history.csv")
        path.write_text("epoch,validation_nats\n1,-3\n2,-2\n3,-inf\n4,nan\n")
    folders = [str(tmp_path / f"runs/mnist/model/{seed}") for seed in (0, 1)]
    out = tmp_path / "a.svg"
    assert main(["curves", *folders, "--out", str(out)]) == 0
    text = out.read_text()
    assert "2×8 seed=0" in text and "2×8 seed=1" in text
    assert main(["comparison", *folders, "--out", str(out)]) == 0
    assert "drawn of each model: 1 of 2" in capsys.readouterr().err
    assert main(["curves", *folders, folders[0], "--out", str(out)]) == 0
    assert "named more than once" in capsys.readouterr().err


def test_curves_of_runs_on_other_data_have_panels_of_their_own(tmp_path):
    folders = []
    for name in "ab":
        entry = run(name, np.linspace(-1, 1, 10), 0.0, data={"fingerprint": name * 9})
        path = keep(tmp_path, entry).with_name("history.csv")
        path.write_text("epoch,validation_nats\n1,-3\n2,-2\n")
        folders.append(str(path.parent))
    out = tmp_path / "a.svg"
    assert main(["curves", *folders, "--out", str(out)]) == 0
    assert "rows aaaaaaaa" in out.read_text() and "rows bbbbbbbb" in out.read_text()


def test_distances_are_those_of_kolmogorov_and_smirnov():
    noise = np.random.default_rng(0).normal(size=(200, 5)) * [1, 2, 1, 0.1, 1] + [0, 0, 3, 0, 0]
    expected = [stats.kstest(column, "norm").statistic for column in noise.T]
    np.testing.assert_allclose(normality.distances(noise), expected)
    assert normality.chosen(noise, 2) == [2, int(np.argmin(expected))]


def test_curves_and_dots_hold_the_figures_of_the_records(results):
    """Drawn into a stand-in: what a reader of the picture would measure."""
    found, complaints = entries.find(results)
    cells = comparison(found)
    assert complaints == []
    panels, _ = curves.curves_of(cells)
    assert set(panels) == {"digits", "digits, class", "toy/moons"}
    with drawing(*curves.size(3)) as figure:
        curves.draw(figure, panels, in_order(cell.model for cell in cells))
        (line,) = (x for x in figure.axes[0].lines if len(x.get_xdata()) > 1)
        np.testing.assert_array_equal(line.get_ydata(), panels["digits"][0].nats)
    columns = dots.panels(cells)
    with drawing(*dots.size(columns)) as figure:
        dots.draw(figure, columns)
        drawn = np.concatenate([c[0].get_xdata() for c in figure.axes[0].containers])
    (ours,) = (c.ours.value for c in columns["digits"] if c.ours)
    assert math.isclose(drawn[0], ours) and len(drawn) == 1


def test_samples_of_several_models_share_axes_and_lie_on_the_data(tmp_path, monkeypatch):
    """Few samples far out press nothing together."""
    rng = np.random.default_rng(0)
    data = rng.uniform(-1, 1, size=(500, 2))
    near, far = rng.normal(size=(2, 200, 2))
    far[:10] *= 1e4
    normal = lambda x: -np.square(x).sum(axis=1) / 2  # noqa: E731
    seen = []

    def look(figure, path):
        for axes in figure.axes:
            behind, samples = axes.collections[:2]
            offsets = [np.asarray(points.get_offsets()) for points in (behind, samples)]
            seen.append((axes.get_xlim(), axes.get_ylim(), *offsets))

    monkeypatch.setattr(pictures, "save", look)
    drawn = {"near": near, "far": far}
    pictures.scatters(
        tmp_path / "a.png", {k: pictures.Drawn(x, normal, data) for k, x in drawn.items()}
    )
    (x_ends, y_ends, *_), other = seen
    assert (x_ends, y_ends) == other[:2]
    for samples, (*_, behind, shown) in zip(drawn.values(), seen, strict=True):
        np.testing.assert_array_equal(behind, data)
        np.testing.assert_array_equal(shown, samples)
    for low, high in (x_ends, y_ends):
        assert -4 < low < -1.5 and 1.5 < high < 4


def test_a_model_has_one_colour_in_every_picture(results):
    found, _ = entries.find(results)
    cells = comparison(found)
    labels = in_order(cell.model for cell in cells)
    assert labels[-1].startswith("Gaussian")
    panels, columns = curves.curves_of(cells)[0], dots.panels(cells)
    with drawing(*curves.size(3)) as figure:
        curves.draw(figure, panels, labels)
        (lines,) = (a.lines for a in figure.axes if a.get_title() == "toy/moons")
        learned = {line.get_label(): line.get_color() for line in lines[::2]}
    with drawing(*dots.size(columns)) as figure:
        dots.draw(figure, columns, labels)
        (axes,) = (a for a in figure.axes if a.get_title() == "toy/moons")
        names = [cell.model for cell in columns["toy/moons"] if cell.ours]
        compared = dict(zip(names, (c[0].get_color() for c in axes.containers), strict=True))
    assert len(learned) == 2 and learned.items() < compared.items()
    assert len(set(compared.values())) == 3
