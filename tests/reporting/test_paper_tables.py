"""The paper's tables, the leaderboard and the test of what is best, from made-up records."""

import csv
import io
import json
import math
import re
import resource
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from maf_runner.reporting.comparison.cells import BEST, comparison
from maf_runner.reporting.comparison.published import figures, successors
from maf_runner.reporting.comparison.significance import mark_best, p_value
from maf_runner.reporting.tables.table import build
from tests.helpers.records import TABLE1, TABLE2, TRAINED, keep, made_up, run, whole_search


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    assert whole_search(folder) == 163
    return folder


def table(command, folder, *words):
    return command("maf-table", *words, "--width", 1000, "--results", folder, check=0)


def data(command, folder, name):
    return json.loads(table(command, folder, name, "--format", "json").stdout)["rows"]


def columns(line):
    return re.split(r" {2,}", line.strip())


def test_table1_has_the_layout_of_the_paper(search, command):
    lines = table(command, search, "table1").stdout.splitlines()
    heading = next(i for i, line in enumerate(lines) if "POWER" in line)
    names = ["POWER", "GAS", "HEPMASS", "MINIBOONE", "BSDS300"]
    assert columns(lines[heading]) == ["model", *(x for n in names for x in (n, "paper"))]
    rows = [columns(line) for line in lines[heading + 2 :][:8]]
    assert [row[0] for row in rows] == ["Gaussian", *TRAINED]
    for row in rows:
        for dataset, paper in zip(TABLE1, row[2::2], strict=True):
            published = figures()[dataset, False, row[0]]
            assert paper == f"{published.value:.2f} ± {published.error:.2f}"


@pytest.mark.parametrize(("name", "unit"), [("table2", "nats"), ("bits", "bits_per_pixel")])
def test_tables_of_images_have_both_kinds(search, command, name, unit):
    rows = data(command, search, name)
    kinds = [(d, c) for d in TABLE2 for c in ("none", "class")]
    assert list(dict.fromkeys((r["dataset"], r["conditioning"]) for r in rows)) == kinds
    assert all(r[f"test_{unit}"] is not None and r[f"published_{unit}"] for r in rows)
    assert len(rows) == 4 * 8
    text = table(command, search, name).stdout
    assert "unconditional" in text and "CIFAR-10" in text


def test_the_size_is_chosen_by_validation_and_named(search, command):
    """The last of the widths is the best on the validation split, and the worst on the test."""
    sizes = {"bsds300": "2×1024", "power": "2×100", "hepmass": "2×512"}
    for row in data(command, search, "table1"):
        if row["model"] != "Gaussian" and row["dataset"] in sizes:
            assert row["size"] == row["chosen"] == sizes[row["dataset"]]
            assert "‡" in row["marks"]
    text = table(command, search, "table1").stdout
    assert "‡ bsds300: MADE 2×1024; MADE MoG 2×1024" in text


def test_the_best_stands_out_in_every_form(search, command):
    best = {r["model"] for r in data(command, search, "table1") if r["best"]}
    assert best == {"MAF MoG (5)"}
    assert table(command, search, "table1").stdout.count("‡•") == 5
    markdown = table(command, search, "table1", "--format", "markdown").stdout
    assert len(re.findall(r"\*\*\d", markdown)) == 5
    latex = table(command, search, "table1", "--format", "latex").stdout
    assert latex.count(r"\mathbf{") == 5


def test_tables_of_the_whole_search_take_less_than_thrice_the_import_of_pandas(search, installed):
    """In processor time, start-up included: other processes do not count."""

    def seconds(*words):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        installed(*words, check=0)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    least = min(seconds("python", "-c", "import pandas") for _ in range(3))
    for name in ("table1", "table2"):
        assert seconds("maf-table", name, "--results", search) < 3 * least


def test_forms_are_written_where_they_belong(search, command):
    for form, ending in [("text", "txt"), ("markdown", "md"), ("latex", "tex"), ("csv", "csv")]:
        printed = table(command, search, "table2", "--format", form).stdout
        assert (search / "tables" / f"table2.{ending}").read_text() == printed
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert rows[0]["dataset"] == "mnist" and float(rows[0]["published_nats"]) == -1366.9


@pytest.mark.parametrize("name", ["table1", "table2", "comparison", "leaderboard", "runs"])
def test_latex_compiles(search, command, tmp_path, name):
    if not shutil.which("pdflatex"):
        pytest.skip("no pdflatex: LaTeX not compiled")
    keep(tmp_path, made_up(model=r"x_1 & \undefined{50% #~^$", run_id="strange"))
    shutil.copytree(search / "runs", tmp_path / "runs", dirs_exist_ok=True)
    table(command, tmp_path, name, "--format", "latex")
    (tmp_path / "page.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs,threeparttable}\\begin{document}\n"
        f"\\input{{tables/{name}}}\\end{{document}}\n"
    )
    words = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert result.returncode == 0, result.stdout[-2000:]


@pytest.mark.parametrize("name", ["table1", "table2", "comparison", "leaderboard", "runs"])
def test_latex_drops_into_a_paper(search, command, tmp_path, name):
    keep(tmp_path, made_up(model=r"x_1 & \undefined{50% #~^$", run_id="strange"))
    shutil.copytree(search / "runs", tmp_path / "runs", dirs_exist_ok=True)
    latex = table(command, tmp_path, name, "--format", "latex").stdout
    assert latex.startswith("% in the preamble: \\usepackage{booktabs,threeparttable}\n")
    assert all(len(line) <= 100 for line in latex.splitlines())
    begun = re.findall(r"\\(begin|end)\{(\w+)\}", latex)
    open_ones = []
    for what, environment in begun:
        if what == "begin":
            open_ones.append(environment)
        else:
            assert open_ones.pop() == environment
    assert not open_ones and begun[0][1] == "table" and f"\\label{{tab:{name}}}" in latex
    body = re.search(r"begin\{tabular\}\{(l(r+))\}(.*)\\end\{tabular\}", latex, re.S)
    for row in body[3].replace("\n", " ").split("\\\\ "):
        if "multicolumn" not in row and "&" in row:
            assert len(re.findall(r"(?<!\\)&", row)) == len(body[2])
    assert not re.search(r"(?<!\\)[#%~^](?!\{)", body[3].replace("^{", ""))


def test_p_value_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200))
    assert p_value(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert p_value(a, a) == 1 and p_value(a, a - 1) == 0


def columns_of_three(folder, **rows):
    """Three models on MNIST, with their test rows or without."""
    for i, (model, (nats, kept)) in enumerate(rows.items()):
        keep(folder, run(f"{i}", nats, 0.0, model=model), nats if kept else None)


def test_what_is_not_significantly_worse_is_as_good_as_the_best(tmp_path, command):
    rng = np.random.default_rng(0)
    best = rng.normal(-1300, 80, size=1000)
    columns_of_three(
        tmp_path,
        A=(best, True),
        B=(best - 0.01 + rng.normal(size=1000), True),
        C=(best - 1 + rng.normal(size=1000), True),  # far less than the ± of 5 between the two
    )
    marked = {r["model"] for r in data(command, tmp_path, "table2") if r["best"]}
    assert marked == {"A", "B"}


def test_a_row_that_alone_decides_makes_nothing_as_good_as_the_best(tmp_path, command):
    rng = np.random.default_rng(0)
    best = rng.normal(-1300, 80, size=1000)
    strange, lucky = best - 20 + rng.normal(size=1000), best - 0.01 + rng.normal(size=1000)
    strange[7], lucky[7] = -400_000_000, -200_000
    columns_of_three(tmp_path, A=(best, True), B=(strange, True), C=(lucky, True))
    assert p_value(best, strange) > 0.05
    marked = {r["model"] for r in data(command, tmp_path, "table2") if r["best"]}
    assert marked == {"A", "C"}


@pytest.mark.parametrize("damage", ["one row", "not finite"])
@pytest.mark.filterwarnings("error")
def test_where_no_test_is_possible_nothing_is_bold(tmp_path, damage):
    best = np.random.default_rng(0).normal(-1300, 80, size=1 if damage == "one row" else 100)
    runs = {f"{i}": run(f"{i}", best - i, 0.0, model=f"M{i}") for i in range(3)}
    cells = comparison([replace(r, test_rows=len(best)) for r in runs.values()])
    kept = {i: best - i for i, cell in enumerate(cells) if cell.record}
    if damage == "not finite":
        kept[max(kept)] = np.where(np.arange(100) < 2, -np.inf, best)
    marked, notes = mark_best(cells, kept)
    assert not any(BEST in cell.marks for cell in marked)
    assert "nothing is bold where a t-test is not possible" in notes[0] and "mnist" in notes[0]
    assert math.isnan(p_value(best[:1], best[:1] - 1))


def test_the_mean_of_one_row_has_no_bar(tmp_path, command):
    one = run("1", np.array([-1300.0]), 0.0, model="A", test_rows=1)
    figures = {key: value for key, value in one.test.items() if "error" not in key}
    for name, test in (("old", {**figures, "error": 0.0}), ("new", figures)):
        record = replace(one, test=test, run_id=name)
        assert record.describe().startswith("A on mnist: test -1300.00 nats, 3.300 bits/pixel;")
        keep(tmp_path / name, record)
        rows = data(command, tmp_path / name, "comparison")
        (row,) = [r for r in rows if r["test_nats"] is not None]
        assert row["test_error"] is None and row["test_nats"] == -1300
        shown = table(command, tmp_path / name, "runs").stdout
        assert "-1300.0 " in shown and "-1300.0 ±" not in shown


def test_without_rows_there_is_no_test_and_it_is_said(tmp_path, command):
    nats = np.linspace(-1400, -1300, 100)
    columns_of_three(tmp_path, A=(nats, True), B=(nats - 9, False), C=(nats - 3, True))
    text = table(command, tmp_path, "table2").stdout
    assert "no t-test with B on mnist: no rows kept" in text
    (tmp_path / "runs/mnist/model/0/test_nats.npy").unlink()
    assert "no t-test, since the best keep no rows: mnist" in table(command, tmp_path).stdout


def test_models_without_rows_are_counted_where_they_are_many(tmp_path, command):
    nats = np.linspace(-1400, -1300, 100)
    columns_of_three(tmp_path, A=(nats, True), **dict.fromkeys("BCDEF", (nats - 9, False)))
    assert "no t-test with 5 models on mnist: no rows kept" in table(command, tmp_path).stdout


def test_rows_that_are_not_those_of_the_record_are_named(tmp_path, command):
    nats = np.linspace(-1400, -1300, 100)
    columns_of_three(tmp_path, A=(nats, True), B=(nats - 9, True), C=(nats - 3, True))
    other, cut = (tmp_path / f"runs/mnist/model/{i}/test_nats.npy" for i in (1, 2))
    np.save(other, nats)
    cut.write_bytes(cut.read_bytes()[:200])
    text = table(command, tmp_path, "table2").stdout
    assert f"{other} does not hold the rows behind the record's figure" in text
    assert f"{cut} cannot be read" in text
    assert "no t-test with B, C on mnist" in text


def test_a_row_that_alone_decides_a_mean_is_named(tmp_path, command):
    nats = np.linspace(-1400, -1300, 100)
    strange = nats.copy()
    strange[7] = -200_000
    columns_of_three(tmp_path, A=(nats, True), B=(strange, True), C=(strange, False))
    for name in ("comparison", "table2", "bits"):
        text = table(command, tmp_path, name).stdout
        others = np.delete(nats, 7)
        said = f"{others.mean():.2f} ± {2 * others.std() / 99**0.5:.2f}"
        note = f"B on mnist: test row 7 alone has -200,000 nats; without it the mean is {said}"
        assert note in text and text.count("alone has") == 1


def test_several_seeds_have_their_spread_beside_the_test_error(tmp_path, command):
    rows = np.linspace(-1.0, 1.0, 100)
    for seed, (mean, validation) in enumerate([(-1300, 3.0), (-1302, 1.0), (-1304, 2.0)]):
        keep(tmp_path, run(f"{seed}", rows + mean, validation, hidden=[1024], seed=seed))
    keep(tmp_path, run("other", rows - 1500, 0.0, hidden=[1024, 1024]))
    (row,) = (r for r in data(command, tmp_path, "table2") if r["seeds"])
    assert (row["seeds"], row["seeds_mean"]) == (3, pytest.approx(-1302))
    assert row["seeds_deviation"] == pytest.approx(2.0)
    assert row["test_nats"] == pytest.approx(-1300) and row["chosen"] == "1×1024 seed=0"
    text = table(command, tmp_path, "table2").stdout
    assert "-1300.0 ± 0.1 (2.0)‡§" in text and "§ mnist: MADE 3 seeds, mean -1302.00" in text


def test_other_data_are_named_and_left_out(tmp_path, command):
    ours = {"fingerprint": "g", "recipe": "redrawn"}
    authors = made_up(dataset="bsds300", run_id="authors")
    redrawn = keep(tmp_path, made_up(dataset="bsds300", run_id="redrawn", data=ours))
    changed = keep(tmp_path, made_up(run_id="changed", departures=["dataset.alpha=0.1"]))
    unknown = keep(tmp_path, made_up(run_id="unknown", data={"recipe": "soup"}))
    result = table(command, tmp_path, "table1")
    assert "-1380.00 ± 4.00*" in result.stdout and result.stderr == ""
    keep(tmp_path, authors)
    result = table(command, tmp_path, "table1")
    assert f"left out: {redrawn} is of other data (bsds300 redrawn; the" in result.stderr
    assert "*" not in result.stdout
    result = table(command, tmp_path, "table2")
    assert f"left out: {changed} is of other data (dataset.alpha=0.1)" in result.stderr
    assert f"left out: {unknown} is of other data (of origin soup)" in result.stderr
    assert "-1380" not in result.stdout.replace("-1380.8", "")


def test_leaderboard_says_what_each_error_bar_means(search, command):
    rows = data(command, search, "leaderboard")
    assert {r["by"] for r in rows} == {"ours", "paper", "published", "re-run"}
    assert {r["error_is"] for r in rows if r["model"].startswith("NAF")} == {"spread over runs"}
    assert {r["error_is"] for r in rows if r["by"] == "ours"} == {"2 s.e. over test rows"}
    assert all(r["error_is"] for r in rows if r["error"] is not None)
    text = table(command, search, "leaderboard").stdout
    (line,) = (x for x in text.splitlines() if x.startswith("FFJORD  "))
    assert line.rstrip().endswith("spread over runs") and "8.59 ± 0.12" in line


def test_better_stands_higher_on_the_leaderboard():
    nats = np.full(10, 1000.0)
    best = run("a", nats, 0.0, dataset="gas", model="Best")
    worst = run("b", -nats, 0.0, dataset="gas", model="Worst")
    rows = build("leaderboard", [best, worst])[0].rows
    exact = [model for model, items in rows if items[1].text == "exact"]
    assert exact[0] == "Best" and "Worst" in exact[-3:]
    kinds = [items[1].text for _, items in rows]
    assert kinds == sorted(kinds, reverse=True) and kinds[-1] == "estimate"


def test_successors_agree_with_what_is_known():
    found = {(r.model, r.dataset): r for r in successors() if r.by == "published"}
    assert found["RQ-NSF (AR)", "gas"].value == 13.09
    assert found["TAN", "power"].error_is == "2 s.e. over test rows"
    assert found["Glow (convolutional)", "cifar10"].error is None


def test_what_records_hold_does_no_harm(tmp_path, command):
    """To a terminal, to Markdown, to LaTeX."""
    keep(tmp_path, made_up(model="a\x1b[31m|b\n<b>*c*\n\\end{tabular}"))
    assert "\x1b" not in table(command, tmp_path).stdout
    markdown = table(command, tmp_path, "--format", "markdown").stdout
    assert r"\|b�\<b\>\*c\*" in markdown
    latex = table(command, tmp_path, "--format", "latex").stdout
    assert latex.count(r"\end{tabular}") == 1
