"""The page of all results: what is in it, and that it works in a browser without a network."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from maf_runner.commands.report import main
from tests.helpers.records import keep, made_up, run

HOSTILE = "<script>document.title='broken'</script><img src=x onerror=alert(1)>"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Made-up records of two models on MNIST, one of them twice, and of a hostile stranger."""
    folder = tmp_path_factory.mktemp("page")
    rows = np.linspace(-1.0, 1.0, 200)
    for model, mean, hidden in (("MADE", -1380, [1024]), ("MAF (5)", -1300, [1024, 1024])):
        entry = run(model[:4], rows + mean, mean + 5.0, hidden=hidden, model=model)
        path = keep(folder, entry, rows + mean)
        curve = "".join(f"{e},{e},{mean - 9},{mean - 9 / e},1\n" for e in range(1, 9))
        header = "epoch,updates,train_nats,validation_nats,seconds\n"
        path.with_name("history.csv").write_text(header + curve)
    keep(folder, run("worse", rows - 1400, -1399.0, hidden=[512], model="MADE"))
    stranger = made_up(model=HOSTILE, run_id="stranger", departures=[f"model.{HOSTILE}=1"])
    keep(folder, stranger)
    keep(folder, made_up(model="MADE MoG", run_id="lost", status="diverged"))
    given = {"log_likelihood": -1.5, "marginal_log_likelihood": -3.25}
    for run_id in ("given", "rival"):
        keep(folder, made_up(run_id=run_id, conditional=True, validation=given))
    cut = keep(folder, made_up(run_id="cut"))
    cut.write_text(cut.read_text()[:50])
    return folder


@pytest.fixture(scope="module")
def page(results, tmp_path_factory):
    path = tmp_path_factory.mktemp("out") / "report.html"
    assert main(["--results", str(results), "--out", str(path)]) == 0
    return path


def test_command_writes_one_file_and_names_what_it_left_out(results, command):
    result = command("maf-report", "--results", results, check=0)
    assert result.stdout.strip() == str(results / "report.html")
    assert "left out:" in result.stderr and "is not JSON" in result.stderr
    again = (results / "report.html").read_bytes()
    command("maf-report", "--results", results, check=0)
    assert (results / "report.html").read_bytes() == again


def test_the_page_needs_nothing_else(page):
    text = page.read_text()
    wanted = []

    class Addresses(HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert not any(name.startswith("on") for name, _ in attributes)
            wanted.extend(value for name, value in attributes if name in ("src", "href"))

    Addresses().feed(text)
    assert wanted and all(w.startswith(("data:", "#")) for w in wanted), wanted
    assert "url(" not in text and "@import" not in text
    assert HOSTILE not in text and "&lt;script&gt;" in text


def test_the_page_warns(page):
    text = page.read_text()
    warnings = text[text.index('id="warnings"') : text.index("</section>")]
    assert "cut/record.json is not JSON" in warnings
    assert "MADE MoG on mnist: diverged" in warnings


def test_rivals_are_shown_by_what_they_are_chosen_by(page):
    """Of a model given the class that is the class marginal."""
    assert "-3.250" in page.read_text() and "-1.500" not in page.read_text()


def test_own_runs_come_first_and_the_leaderboards_are_folded(page):
    text = page.read_text()
    sections = re.findall(r'<section id="([\w-]+)">', text)
    assert sections[:2] == ["comparison", "runs"]
    assert sections.index("leaderboard") > sections.index("table2")
    parts = {part[: part.index('"')]: part for part in text.split('<section id="')[1:]}
    tables, images = parts["leaderboard"], parts["leaderboard-images"]
    for part in (tables, images):
        assert "<details><summary><h2>" in part and "<details open" not in part
    assert ">MINIBOONE<" in tables and ">MNIST bits<" not in tables
    assert ">CIFAR-10 bits<" in images and ">POWER<" not in images
    assert "Flow++" in images and "Flow++" not in tables  # which has images only


def test_runs_without_a_record_are_shown(results, tmp_path):
    folder = shutil.copytree(results, tmp_path / "results")
    begun = folder / "runs" / "digits" / "made" / "begun"
    begun.mkdir(parents=True)
    settings = {
        "dataset": {"name": "digits"},
        "model": {"name": "made"},
        "trainer": {"name": "paper"},
    }
    (begun / "config.yaml").write_text(yaml.safe_dump({**settings, "seed": 7}))
    assert main(["--results", str(folder), "--out", str(tmp_path / "a.html"), "--no-samples"]) == 0
    text = (tmp_path / "a.html").read_text()
    assert "begun" in text[text.index('id="runs"') : text.index('id="table2"')]


def test_no_records_says_how_to_make_one(tmp_path, command):
    result = command("maf-report", "--results", tmp_path, check=3)
    assert "maf-run model=gaussian" in result.stderr
    assert not list(tmp_path.iterdir())


def test_samples_of_models_that_are_there(tmp_path, command):
    command("maf-run", "model=made", "trainer.max_epochs=2", check=0)
    command("maf-run", "model=gaussian", "dataset=toy/moons", check=0)
    command("maf-report", check=0)
    text = (tmp_path / "results" / "report.html").read_text()
    section = text[text.index('id="samples"') :]
    assert "MADE on digits" in section and "Gaussian on toy/moons" in section
    assert section.count("data:image/png;base64,") == 2
    command("maf-report", "--no-samples", "--out", "other.html", check=0)
    assert "MADE on digits</figcaption>" not in (tmp_path / "other.html").read_text()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Chromium, as Debian has it; without it nothing is said about the page in a browser."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: page not opened")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no chromium and chromedriver here: THE PAGE IS NOT TESTED IN A BROWSER")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture
def opened(browser, page):
    def size(width, height):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    size(1280, 900)
    browser.get(f"file://{page}")
    browser.size = size
    yield browser
    assert browser.get_log("browser") == []


def column(browser, place):
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
    return browser.execute_script(script, f"#comparison tbody {place}")


def test_a_heading_sorts(opened):
    models = column(opened, "th")
    heading = opened.find_element("css selector", "#comparison thead th:nth-child(2) button")
    heading.click()
    first = column(opened, "th")
    assert first[:3] == ["MAF (5)", "MADE", models[-1]] and first != models
    figures = [t for t in column(opened, "td:nth-child(2)") if t != "–"]
    assert [f.split(" ")[0] for f in figures[:3]] == ["-1300.0", "-1380.0", "-1380.0"]
    heading.click()
    assert column(opened, "th")[:2] != first[:2]
    last = column(opened, "td:nth-child(2)")
    assert last[-1] in ("–", "diverged")  # what has no figure is last either way
    state = heading.find_element("xpath", "..").get_attribute("aria-sort")
    assert state == "ascending"
    opened.find_element("css selector", "#comparison thead th:first-child button").click()
    assert column(opened, "th") == sorted(models, key=str.lower, reverse=True)


def test_the_settings_are_a_click_away(opened):
    (figure,) = (
        b
        for b in opened.find_elements("css selector", "#comparison [data-run]")
        if b.text.startswith("-1380.0 ± 0.1")
    )
    figure.click()
    dialog = opened.find_element("css selector", "dialog[open]")
    assert dialog.is_displayed()
    assert "model.hidden" in dialog.text and "[1024]" in dialog.text
    assert "1×1024 ← shown" in dialog.text and "1×512" in dialog.text
    dialog.find_element("css selector", "button.close").click()
    assert not opened.find_elements("css selector", "dialog[open]")


def test_what_records_hold_is_text(opened):
    assert opened.title == "Density estimation: the results"
    assert any(HOSTILE in name for name in column(opened, "th"))


def test_pictures_are_drawn(opened):
    script = "return [...document.images].map(i => [i.complete, i.naturalWidth, i.alt])"
    images = opened.execute_script(script)
    assert images and all(complete and width > 0 for complete, width, _ in images)


def test_readable_on_a_phone(opened):
    opened.size(390, 844)
    shown = opened.execute_script(
        "const size = e => parseFloat(getComputedStyle(e).fontSize);"
        "return [document.documentElement.scrollWidth,"
        " Math.min(...[...document.querySelectorAll('td, th, p, li, a')].map(size)),"
        " Math.min(...[...document.querySelectorAll('main button, section button')]"
        "   .filter(b => b.offsetParent).map(b => b.getBoundingClientRect().height)),"
        " document.querySelector('#comparison .wide').scrollWidth]"
    )
    width, letters, targets, table = shown
    script = """
        const cut = [];
        const names = 'section tbody th';
        for (const cell of document.querySelectorAll(names)) {
          if (cell.textContent.startsWith("<script>")) continue;
          for (const node of cell.childNodes) {
            for (const word of (node.data ?? "").matchAll(/\\w+/g)) {
              const range = document.createRange();
              range.setStart(node, word.index);
              range.setEnd(node, word.index + word[0].length);
              if (range.getClientRects().length > 1 && word[0].length < 20) cut.push(word[0]);
            }
          }
        }
        return cut;
    """
    opened.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    assert opened.execute_script(script) == []  # no word of a usual name is cut
    assert width <= 390  # only the tables scroll sideways
    assert table > 390 and letters >= 14 and targets >= 24
    opened.find_element("css selector", "#comparison [data-run]").click()
    dialog = opened.find_element("css selector", "dialog[open]")
    assert dialog.rect["width"] <= 390
