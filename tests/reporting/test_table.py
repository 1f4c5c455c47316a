"""The comparison table, from records made for the tests."""

import json
from dataclasses import replace

import pytest

from maf_runner.reporting.comparison.cells import comparison, short_names
from maf_runner.reporting.comparison.published import MODELS, figures
from maf_runner.reporting.tables.table import COMPARISON, Choice, build, grid
from tests.helpers.records import keep, made_up


def render(cells, form):
    return grid(COMPARISON, cells).render(form)


def cell(cells, model):
    return next(c for c in cells if c.model == model)


def test_difference_is_in_combined_standard_errors():
    made = cell(comparison([made_up()]), "MADE")
    assert made.published.value == -1380.8 and made.published.error == 4.8
    assert made.deviation == pytest.approx(0.8 / ((2.0**2 + 2.4**2) ** 0.5))
    assert "-1380.0 ± 4.0" in render([made], "text") and "+0.3" in render([made], "text")


def test_rows_are_the_papers_and_what_was_not_run_is_a_dash():
    cells = comparison([made_up()])
    assert [c.model for c in cells] == list(MODELS)
    line = next(x for x in render(cells, "text").splitlines() if x.startswith("MAF (5)"))
    assert line.split() == ["MAF", "(5)", "–", "-1300.5", "±", "1.7", "–"]


def test_choice_is_by_validation_never_by_test():
    worse_on_test = made_up(
        run_id="b",
        settings={"trainer": {"name": "paper"}, "model": {}, "dataset": {}, "seed": 1},
        test={"log_likelihood": -1500.0, "error": 4.0},
        validation={"log_likelihood": -1300.0},
    )
    made = cell(comparison([made_up(), worse_on_test]), "MADE")
    assert made.ours.value == -1500.0
    assert "‡" in made.marks and made.chosen == "seed=1"


def test_a_conditional_model_is_chosen_by_the_class_marginal():
    """As by the authors; by log p(x | true class) where one of the records has nothing else."""
    first = {"log_likelihood": -1300.0, "marginal_log_likelihood": -1400.0}
    second = {"log_likelihood": -1350.0, "marginal_log_likelihood": -1350.0}
    for other, chosen in ((second, -1500.0), ({"log_likelihood": -1350.0}, -1380.0)):
        entries = [
            made_up(conditional=True, validation=first),
            made_up(conditional=True, validation=other, run_id="b",
                    test={"log_likelihood": -1500.0, "error": 4.0}),
        ]  # fmt: skip
        made = next(c for c in comparison(entries) if c.model == "MADE")
        assert made.ours.value == chosen
    # A record of a stranger whose figure under the name that all have is none.
    odd = made_up(
        conditional=True,
        status="diverged",
        run_id="c",
        test={"rows_not_finite": 1},
        validation={"marginal_log_likelihood": -2.0, "log_likelihood": None},
    )
    made = next(c for c in comparison([*entries, odd]) if c.model == "MADE")
    assert made.ours.value == -1380.0


def test_a_run_that_diverged_after_its_best_is_marked():
    made = cell(comparison([made_up(stop_reason="diverged")]), "MADE")
    assert made.marks == "¶" and made.ours.value == -1380.0
    assert "training diverged later" in render([made], "text")


def test_marks():
    cut = cell(comparison([made_up(stop_reason="max_epochs")]), "MADE")
    assert cut.marks == "†" and cut.deviation is None
    settings = {"trainer": {"name": "tuned", "schedule": "cosine"}, "model": {}, "dataset": {}}
    ended = made_up(stop_reason="max_epochs", settings={**settings, "seed": 0})
    assert cell(comparison([ended]), "MADE, tuned").marks == ""
    redrawn = cell(comparison([made_up(data={"recipe": "redrawn"})]), "MADE")
    assert redrawn.marks == "*"
    assert "not the authors' data" in render([redrawn], "text")


def test_other_trainers_are_rows_of_their_own():
    settings = {"trainer": {"name": "tuned"}, "model": {}, "dataset": {}, "seed": 0}
    tuned = made_up(run_id="b", settings=settings)
    cells = comparison([made_up(), tuned])
    assert [c.model for c in cells][:3] == ["Gaussian", "MADE", "MADE MoG"]
    assert cell(cells, "MADE").published and not cell(cells, "MADE, tuned").published


def test_departures_from_the_paper_are_never_shown_as_the_paper():
    other = made_up(run_id="b", departures=["trainer.l2=0", "model.mask=full_context"])
    cells = comparison([made_up(), other])
    assert cell(cells, "MADE").marks == ""
    assert cell(cells, "MADE, model.mask=full_context, trainer.l2=0").ours
    cells = comparison([made_up(departures=["dataset.alpha=0.1"])])
    assert {c.dataset for c in cells} == {"mnist (alpha=0.1)"}
    assert all(c.published is None for c in cells)


def test_of_a_plugin_the_first_digits_of_its_hash_are_shown():
    settings = {"trainer": {"name": "paper"}, "model": {}, "dataset": {}, "seed": 0}
    runs = [
        made_up(run_id=digit, settings={**settings, "plugins": {"flows": f"sha256:{digit * 64}"}})
        for digit in "ab"
    ]
    chosen = cell(comparison(runs), "MADE").chosen
    assert chosen in [f"plugins.flows=sha256:{digit * 12}" for digit in "ab"]


def test_of_teachers_the_number_is_shown():
    settings = {"model": {}, "dataset": {}, "seed": 0}
    runs = [
        made_up(
            run_id=str(n), settings={**settings, "trainer": {"name": "paper", "teachers": ids}}
        )
        for n, ids in enumerate((["a"], ["b", "c"]))
    ]
    assert cell(comparison(runs), "MADE").chosen in ("1 teacher", "2 teachers")


def test_different_data_are_different_columns():
    """Likelihoods of other data, even of the same name, are not chosen from together."""

    def digits(alpha, nats):
        settings = {
            "trainer": {"name": "paper"},
            "model": {},
            "dataset": {"name": "digits", "alpha": alpha},
        }
        test = {"log_likelihood": nats, "error": 1.0}
        return made_up(run_id=str(alpha), dataset="digits", settings=settings, test=test)

    cells = comparison([digits(0.01, -90.0), digits(0.1, -50.0)])
    found = {c.dataset: c.ours.value for c in cells if c.ours}
    assert found == {"digits (alpha=0.01)": -90.0, "digits (alpha=0.1)": -50.0}
    assert all(c.marks == "" for c in cells)


def test_other_rows_under_the_same_settings_are_different_columns():
    """As of a dataset from outside whose code or file has changed."""
    other = {"fingerprint": "e" * 64, "recipe": "authors"}
    runs = [made_up(), made_up(run_id="b", data=other), made_up(run_id="c", data=other)]
    made = [c for c in comparison(runs) if c.model == "MADE"]
    assert [(c.dataset, len(c.runs)) for c in made] == [
        ("mnist, rows eeeeeeee", 2),
        ("mnist, rows f", 1),
    ]
    assert all(c.published for c in made)
    for name in ("table2", "leaderboard"):  # have one column for each dataset
        table, complaints = build(name, runs)
        assert [entry.get("run_id", "c") for entry in table.data if entry["model"] == "MADE"]
        assert complaints == [
            "left out: 0123456789ab is of other data (mnist rows f; the column shows rows "
            "eeeeeeee)"
        ]


def seeds(*scores, model=None, **changes):
    """A run for each seed by its validation and test figure; None: a test row is not finite."""
    runs = []
    for seed, (validation, nats) in enumerate(scores):
        settings = {"trainer": {"name": "paper"}, "model": model or {}, "dataset": {}}
        ended = {} if nats is not None else {"status": "diverged"}
        test = {"log_likelihood": nats, "error": 1.0} if nats else {"rows_not_finite": 1}
        runs.append(
            made_up(
                run_id=str(seed),
                seed=seed,
                settings={**settings, "seed": seed},
                test=test,
                validation={"log_likelihood": validation},
                **ended,
                **changes,
            )
        )
    return runs


def test_a_test_row_that_is_not_finite_does_not_choose():
    runs = seeds((-8.0, None), (-9.0, -10.0), (-9.5, -12.0))
    made = cell(comparison(runs), "MADE")
    assert made.ours is None and made.status == "not finite" and made.record is None
    text = build("comparison", runs)[0].render("text")
    assert "MADE on mnist, the best on validation: the log density of 1 test row" in text
    assert cell(comparison(runs[::-1]), "MADE").runs[0] is runs[0]
    lost = cell(comparison(seeds((-9.0, None), (-8.0, None))), "MADE")
    assert (lost.status, lost.runs[0].seed) == ("not finite", 1)
    mean = cell(comparison(runs, mean=True), "MADE")
    assert (mean.ours.value, mean.run_ids, mean.validation) == (-11.0, "1 2", -9.25)


def test_seeds_without_a_figure_are_named():
    runs = seeds((-9.0, -10.0), (-9.5, -12.0), (-10.0, None))
    runs.append(made_up(run_id="d", seed=3, status="diverged", test={}, validation={},
                        settings={**runs[0].settings, "seed": 3}))  # fmt: skip
    note = "MADE on mnist: seeds without a figure: 2 (not finite); 3 (diverged)"
    for choice in (Choice(), Choice(mean=True)):
        assert note in build("comparison", runs, choice)[0].notes


def test_marks_of_a_mean_are_of_any_of_its_seeds():
    whole, cut = seeds((-9.0, -10.0), (-9.5, -12.0))
    cut = replace(cut, stop_reason="max_epochs")
    assert cell(comparison([whole, cut], mean=True), "MADE").marks == "†"
    # A short trial before the whole run is no rival of it; a whole run that it beats is.
    assert cell(comparison([whole, cut]), "MADE").marks == "§"
    better = replace(cut, validation={"log_likelihood": -1.0})
    assert cell(comparison([whole, better]), "MADE").marks == "†‡§"


def test_settings_of_ones_own_never_stand_in_a_row_of_the_paper():
    ours = {"name": "mymade", "_target_": "maf_runner.flows.models.made"}
    theirs = {"name": "odd", "_target_": "their.flows.Odd"}
    runs = [
        made_up(),
        *seeds((-1.0, -2.0), model=ours),
        *seeds((-1.0, -3.0), model=theirs, dataset="gas"),
        *seeds((-1.0, -4.0), model=theirs | {"name": "own"}, dataset="power"),
    ]
    runs[-1] = replace(runs[-1], model="Odd flow")
    found = {(c.name, c.model): c for c in comparison(runs) if c.ours}
    assert set(found) == {
        ("mnist", "MADE"),
        ("mnist", "MADE, mymade"),
        ("gas", "MADE, odd"),
        ("power", "Odd flow"),
    }
    assert [c.model for c in found.values() if c.published] == ["MADE"]


def test_diverged_runs_never_appear_as_a_number():
    made = cell(comparison([made_up(status="diverged", test={})]), "MADE")
    assert made.ours is None and made.status == "diverged"


def test_published_figures_are_arxiv_v4():
    assert figures()["mnist", True, "MAF (5)"].value == -1302.9
    assert figures()["cifar10", True, "MAF (10)"].value == 3058.0
    assert len(figures()) == 5 * 8 + 2 * 2 * 8


def test_command_goes_on_past_bad_records(tmp_path, command):
    keep(tmp_path, made_up())
    cut = keep(tmp_path, made_up(run_id="cut"))
    cut.write_text(cut.read_text()[:100])
    foreign = keep(tmp_path, made_up(run_id="foreign"))
    foreign.write_text(json.dumps({"hello": "world"}))
    newer = keep(tmp_path, made_up(run_id="newer"))
    newer.write_text(newer.read_text().replace('"schema": 1', '"schema": 99'))
    infinite = keep(tmp_path, made_up(run_id="inf", test={"log_likelihood": float("inf")}))
    result = command("maf-table", "--results", tmp_path, check=0)
    assert "-1380.0 ± 4.0" in result.stdout
    for path, reason in (
        (cut, "is not JSON"),
        (foreign, "is not a record"),
        (newer, "has schema 99"),
        (infinite, "no finite test.log_likelihood"),
    ):
        assert f"left out: {path}" in result.stderr and reason in result.stderr
    assert (tmp_path / "tables" / "comparison.txt").read_text() == result.stdout


@pytest.mark.parametrize(
    ("form", "ending", "sign"),
    [
        ("markdown", "md", "| MADE"),
        ("latex", "tex", r"\toprule"),
        ("csv", "csv", "mnist,none,MADE"),
    ],
)
def test_formats(tmp_path, command, form, ending, sign):
    keep(tmp_path, made_up())
    result = command("maf-table", "--results", tmp_path, "--format", form, check=0)
    assert sign in result.stdout
    assert (tmp_path / "tables" / f"comparison.{ending}").read_text() == result.stdout


def test_no_records_says_how_to_make_one(tmp_path, command):
    result = command("maf-table", "--results", tmp_path / "nothing", check=3)
    assert "maf-run model=gaussian" in result.stderr
    assert not (tmp_path / "nothing").exists()


def test_table_never_imports_torch(tmp_path, installed):
    keep(tmp_path, made_up())
    code = (
        "import sys; from maf_runner.commands.table import main; "
        f"main(['--results', {str(tmp_path)!r}]); assert 'torch' not in sys.modules"
    )
    installed("python", "-c", code, check=0)


def test_cells_on_other_than_the_authors_data_are_marked_and_never_mixed_with_them():
    redrawn = {"fingerprint": "g", "recipe": "redrawn"}
    on_authors = made_up(dataset="bsds300", validation={"log_likelihood": -1.0})
    on_ours = made_up(dataset="bsds300", run_id="b", data=redrawn)
    alone = render(comparison([on_ours]), "text")
    assert "-1380.0 ± 4.0*" in alone
    assert "* not the authors' data\n* bsds300: redrawn" in alone
    cells = comparison([on_authors, on_ours])
    made = [c for c in cells if c.model == "MADE"]
    assert [(c.dataset, c.marks) for c in made] == [
        ("bsds300, authors", ""),
        ("bsds300, redrawn", "*"),
    ]
    assert all(c.published is not None for c in made)
    assert "redrawn" in render(cells, "csv")


def test_a_cell_without_a_published_figure_is_marked_all_the_same():
    redrawn = {"fingerprint": "g", "recipe": "redrawn"}
    text = render(comparison([made_up(dataset="bsds300", model="IAF (5)", data=redrawn)]), "text")
    assert "-1380.0 ± 4.0*" in text


def test_tables_of_ones_own_have_short_names_and_no_rows_of_the_paper():
    def own(digits, **settings):
        return made_up(
            dataset="file",
            run_id=digits,
            data={"fingerprint": digits, "recipe": "own", "sources": {f"{digits}.csv": "0"}},
            settings={
                "trainer": {"name": "paper"},
                "model": {},
                "dataset": {"path": f"sha256:{digits * 64}", "columns": None, **settings},
            },
        )

    cells = comparison([own("a"), own("b", columns=["x"])])
    assert {c.dataset for c in cells} == {
        "file (a.csv aaaaaaaa)",
        "file (b.csv bbbbbbbb columns=['x'])",
    }
    assert [c.model for c in cells] == ["MADE", "MADE"]
    assert set(short_names(cells).values()) == {"a #1", "b #1"}


def test_every_run_has_a_line():
    """With its own distance from the paper, though the table shows only the chosen one."""
    took = {"epochs": 1143, "best_epoch": 113, "seconds": 8068.8, "updates": 71500, "resumed": 1}
    runs = [
        made_up(**took, environment={"device": "cpu", "threads": 1}),
        made_up(run_id="b", seed=1, validation={"log_likelihood": -1300.0}),
        made_up(run_id="c", seed=2, status="diverged", seconds=2),
        made_up(run_id="e", seed=3, stop_reason="max_updates"),
        made_up(run_id="d", dataset="mine", conditional=True, stop_reason=None, epochs=None),
    ]
    table, complaints = build("runs", runs)
    lines = {line["run_id"]: line for line in table.data}
    assert not complaints and len(table.rows) == len(lines) == 5
    first = lines["0123456789ab"]
    assert {**took, "device": "cpu", "threads": 1}.items() <= first.items()
    assert first["deviation_in_standard_errors"] == lines["b"]["deviation_in_standard_errors"]
    assert first["published_nats"] == -1380.8 and lines["d"]["published_nats"] is None
    text = table.render("text")
    assert "1143" in text and "134.48" in text and "+0.3" in text and "mine, class" in text
    assert ["2", "diverged", "-1380.8", "±", "4.8", "–", "–", "–", "0.03", "diverged"] in [
        line.split()[-10:] for line in text.splitlines()
    ]
    assert "† cut short" in text and "† cut short" not in build("runs", runs[:1])[0].render("text")
