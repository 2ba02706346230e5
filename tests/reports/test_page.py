"""The report: its sentences come from its figures, and it is safe and usable in a real browser."""

import json
import re
import shutil

import numpy as np
import pytest

from tfinvert.images import files as images
from tfinvert.reports import page
from tfinvert.runs.directory import RunDirectory

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


def made(folder, *, psnr, loss, network="vgg16-bn", layers=("conv3_1",), steps=2000, rate=0.001, speed=18.0, tv=None, weight=0):
    """A run directory with given figures, as a finished run leaves it."""
    run = RunDirectory(folder)
    flags = {"learning_rate": rate, "schedule": "constant", "tv_weight": weight, "tv_reduction": "sum", "feature_loss": "mse"}
    fields = {"conv1_1": [3, 3], "conv3_1": [24, 24], "pool5": [212, 212]}
    info = {
        "network": network,
        "weights": "random",
        "pool": "avg",
        "image": "<img src=x onerror=alert(1)>",
        "layers": {layer: {"receptive_field": fields.get(layer)} for layer in layers},
    }
    result = {"psnr": psnr, "ssim": 0.5, "normalized_feature_error": loss[-1] / 10}
    result |= {"seconds": steps / speed, "steps_per_second": speed, "peak_memory_mb": 700.0}
    run.create("".join(f"--{k}={v}\n" for k, v in flags.items()), {**info, "result": result}, resume=False)
    for index, value in enumerate(loss):
        step = index * steps // (len(loss) - 1)
        line = {"step": step, "loss": value, "learning_rate": rate, **dict.fromkeys(layers, value)}
        run.append_metrics({**line, **({"tv": tv[index]} if tv else {}), "psnr": 7 + index})
        images.save(run.picture_path(step), np.full((32, 32, 3), index / len(loss)))
    for path in (run.target, run.final):
        images.save(path, np.random.default_rng(0).uniform(0, 1, (32, 32, 3)))
    return page.Entry(folder, folder.name, f"What is {folder.name}?", "--- a\n+++ b\n-old\n+<b>new</b>\n")


@pytest.fixture
def entries(tmp_path):
    return [
        made(tmp_path / "baseline", psnr=12.0, loss=[8.0, 4.0, 2.0]),
        made(tmp_path / "q1", psnr=30.0, loss=[8.0, 1.0, 0.1], rate=0.01),
        made(tmp_path / "q2.1", psnr=10.0, loss=[8.0, 5.0, 3.0], tv=[1000.0, 50.0, 1.0], weight=1.0),
        made(tmp_path / "q3.1", psnr=40.0, loss=[8.0, 1.0, 0.5], layers=("conv1_1",)),
        made(tmp_path / "q3.2", psnr=9.0, loss=[8.0, 6.0, 5.0], layers=("pool5",)),
        made(tmp_path / "q3.3", psnr=11.0, loss=[8.0, 6.0, 5.0], layers=("conv3_1", "fc6")),
        made(tmp_path / "q4", psnr=11.5, loss=[8.0, 4.0, 1.0], network="resnet18", layers=("res2",), speed=72.0),
    ]


def answers(folder, entries):
    page.write(folder, "Test", entries)
    return json.loads((folder / "report.json").read_text())


def test_answers_follow_from_the_figures(tmp_path, entries):
    report = answers(tmp_path, entries)
    q1, q2, q3, q4 = report["answers"].values()
    assert "0.01 ends with the lowest feature loss, 0.1, and 30.0 dB" in q1
    assert "1 x the sum: 10.0 dB, 0.10% of the start's total variation left" in q2
    assert "below the 12.0 dB without" in q2
    assert "Flat pictures (under 1 % of the start's variation): q2.1" in q2
    assert q3.startswith("conv1_1: 40.0 dB; conv3_1: 12.0 dB; pool5: 9.0 dB; conv3_1+fc6: 11.0 dB.")
    assert "The deeper the layer, the less" in q3
    assert "conv3_1+fc6 is 1.0 dB below conv3_1 alone" in q3
    assert "72.0 steps/s, 4.0 times the baseline's" in q4
    assert "The highest PSNR is vgg16-bn conv3_1's" in q4
    by_name = {run["name"]: run["answer"] for run in report["runs"]}
    assert "18.0 dB above the baseline" in by_name["q1"]
    assert "the baseline's final feature loss by step 1000 (of 2000)" in by_name["q1"]
    assert "2.0 dB below the baseline" in by_name["q2.1"]
    assert "never reaches the baseline's final feature loss" in by_name["q2.1"]


def test_other_figures_give_other_answers(tmp_path):
    entries = [
        made(tmp_path / "baseline", psnr=25.0, loss=[8.0, 0.5, 0.1]),
        made(tmp_path / "q1", psnr=20.0, loss=[8.0, 5.0, 4.0], rate=0.01),
        made(tmp_path / "q3.1", psnr=15.0, loss=[8.0, 6.0, 5.0], layers=("conv1_1",)),
        made(tmp_path / "q4", psnr=31.0, loss=[8.0, 4.0, 1.0], network="resnet18", layers=("res2",), speed=9.0),
    ]
    q1, q3, q4 = answers(tmp_path, entries)["answers"].values()
    assert "0.001 ends with the lowest feature loss, 0.1, and 25.0 dB" in q1
    assert "PSNR does not fall with every layer" in q3
    assert "0.5 times the baseline's" in q4
    assert "The highest PSNR is resnet18 res2's" in q4


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
    entry = page.Entry(tmp_path / "missing", "missing", "Never ran", error="no disk")
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
    "a picture is text": lambda run: run.final.write_text("root:x:0"),
    "a picture is cut": lambda run: run.final.write_bytes(run.final.read_bytes()[:100]),
    "a picture is a folder": lambda run: (run.target.unlink(), run.target.mkdir()),
    "a snapshot is none": lambda run: run.picture_path(0).write_bytes(b"x"),
}


@pytest.mark.parametrize("damage", DAMAGES)
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


def test_a_picture_that_is_another_s_file_is_not_shown(tmp_path):
    entry = made(tmp_path / "q1", psnr=12.0, loss=[8.0, 2.0])
    (tmp_path / "secret").write_text("not a picture")
    final = RunDirectory(entry.folder).final
    final.unlink()
    final.symlink_to(tmp_path / "secret")
    page.write(tmp_path, "Test", [entry])
    assert 'alt="Result of q1"' not in (tmp_path / "report.html").read_text()


@pytest.fixture
def browser():
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs chromium and chromedriver (Debian: apt install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    quiet = ("disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-component-update")
    for argument in ("headless", "no-sandbox", "disable-sync", "disable-dev-shm-usage", *quiet):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


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
