"""The report page: what is on it, and that it is safe and usable in a real browser."""

import json
import re

import pytest

from tests.conftest import run_chromium
from tests.reports.conftest import made
from tfinvert.reports import page
from tfinvert.reports.entries import Entry
from tfinvert.runs.directory import RunDirectory


def test_the_same_runs_give_the_same_page(tmp_path, entries):
    page.write(tmp_path, "Test", entries)
    first = (tmp_path / "report.html").read_bytes()
    page.write(tmp_path, "Test", entries)
    assert (tmp_path / "report.html").read_bytes() == first


def test_markup_in_names_and_settings_comes_out_as_text(tmp_path):
    entry = made(tmp_path / "<script>alert(1)<", psnr=12.0, loss=[8.0, 2.0])
    page.write(tmp_path, "<script>alert(2)</script>", [entry])
    html = (tmp_path / "report.html").read_text()
    assert html.count("<script") == 1  # the page's own
    assert "<img src=x" not in html
    assert "&lt;script&gt;alert(1)&lt;" in html
    assert "<b>new" not in html


def test_a_run_without_figures_is_on_the_page(tmp_path):
    entry = Entry(tmp_path / "missing", "missing", "Never ran", error="no disk")
    page.write(tmp_path, "Test", [entry])
    html = (tmp_path / "report.html").read_text()
    assert "Not finished: no disk" in html
    assert "No figures: the run has not ended." in html


def test_results_are_the_files_themselves(tmp_path, entries):
    import base64

    page.write(tmp_path, "Test", entries)
    html = (tmp_path / "report.html").read_text()
    shown = [base64.b64decode(data) for data in re.findall(r"data:image/png;base64,([^\"]+)", html)]
    assert (tmp_path / "q1" / "final.png").read_bytes() in shown


DAMAGES = {
    "run.json is a list": lambda run: run.info.write_text("[]"),
    "figures are text": lambda run: run.write_info({**run.read_info(), "result": {"psnr": "x"}}),
    "layers are a list": lambda run: run.info.write_text(json.dumps({**run.read_info(), "layers": ["conv3_1"]})),
    "no metrics": lambda run: run.metrics.unlink(),
    "metrics of other names": lambda run: run.metrics.write_text(
        '{"step": 1, "$\\\\frac": 1.0, "loss": 1e300}\n{"step": 2, "$x$": 1}\n'
    ),
    "flags are no numbers": lambda run: run.flags.write_text("--learning_rate=x\n--tv_weight=1e999\n--schedule=constant\n"),
    "an image is text": lambda run: run.final.write_text("root:x:0"),
    "an image is cut": lambda run: run.final.write_bytes(run.final.read_bytes()[:100]),
    "an image is a folder": lambda run: (run.target.unlink(), run.target.mkdir()),
    "a snapshot is none": lambda run: run.image_path(0).write_bytes(b"x"),
}


QUICK = ("layers are a list", "an image is text")


@pytest.mark.parametrize(
    "damage", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in DAMAGES if name not in QUICK)]
)
def test_a_damaged_run_is_on_the_page_with_what_is_left(damage, tmp_path, entries):
    for entry in entries:
        DAMAGES[damage](RunDirectory(entry.folder))
        (entry.folder / "sheet.png").unlink(missing_ok=True)
    page.write(tmp_path, "Test", entries)
    html = (tmp_path / "report.html").read_text()
    assert html.count("<section") >= len(entries)
    assert "root:x:0" not in html
    assert "cm9vdDp4OjA" not in html  # the same in base 64
    json.loads((tmp_path / "report.json").read_text())


def test_an_image_that_is_another_s_file_is_not_shown(tmp_path):
    entry = made(tmp_path / "q1", psnr=12.0, loss=[8.0, 2.0])
    (tmp_path / "secret").write_text("not an image")
    final = RunDirectory(entry.folder).final
    final.unlink()
    final.symlink_to(tmp_path / "secret")
    page.write(tmp_path, "Test", [entry])
    assert 'alt="Result of q1"' not in (tmp_path / "report.html").read_text()


@pytest.fixture
def browser():
    yield from run_chromium()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_page_in_a_browser(tmp_path, entries, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page.write(tmp_path, "Test", entries)
    browser.get((tmp_path / "report.html").as_uri())
    loaded = browser.execute_script(
        "return [...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt.length > 0, i.hidden])"
    )
    assert len(loaded) > 20
    assert all(complete and named for complete, named, _ in loaded)

    slider = browser.find_element(By.CSS_SELECTOR, "#r1 ~ .row input[type=range]")
    caption = browser.find_element(By.CSS_SELECTOR, "#r1 ~ .row .snapshots figcaption")
    visible = "return [...arguments[0].parentNode.querySelectorAll('img')].filter(i => i.checkVisibility()).map(i => i.alt)"
    assert browser.execute_script(visible, slider) == ["baseline after 2000 steps"]
    slider.send_keys(Keys.HOME)
    assert browser.execute_script(visible, slider) == ["baseline after 0 steps"]
    assert caption.text == "after 0 steps, 7.0 dB"
    slider.send_keys(Keys.ARROW_RIGHT)
    assert browser.execute_script(visible, slider) == ["baseline after 1000 steps"]
    assert slider.get_attribute("aria-valuetext") == "after 1000 steps, 8.0 dB"

    for width in (1280, 400):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for scheme, dark in (("dark", True), ("light", False)):
        feature = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
        color = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", color)[:3])) < 200) == dark

    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {m["params"]["request"]["url"][:5] for m in messages if m["method"] == "Network.requestWillBeSent"}
    assert asked <= {"file:", "data:"}
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
