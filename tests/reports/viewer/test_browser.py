"""The viewer in a real browser, while runs go on."""

import json
import re
import shutil
import subprocess
import tarfile
import threading
import time

import pytest

from tests.conftest import start_program
from tests.reports.viewer import writing

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
AXE = "axe-core@4.10.2"
SOON = 2.0  # seconds in which the page shows what has changed
PAGES = ("/", "/run/sweep/res1", "/layers/sweep?layer=res2&beside=other&other=conv1", "/compare?a=sweep/res1&b=sweep/res3")


def wait(browser, script, *arguments, seconds=8.0):
    """Waits until a script returns something true; returns it and how long that took."""
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        if value := browser.execute_script(f"return {script}", *arguments):
            return value, time.monotonic() - started
        time.sleep(0.05)
    raise AssertionError(f"{script} was not true within {seconds} s")


def set_screen(browser, width=1280, *, scheme="light", height=900):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})


def check_nothing_wrong(browser, viewer):
    """No error in the console, no request that leaves."""
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith((viewer.address, "data:", "about:", "chrome"))] == []


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The accessibility checker, as a script."""
    if not (npm := shutil.which("npm")):
        pytest.skip(f"needs npm, which fetches {AXE}")
    folder = tmp_path_factory.mktemp("axe")
    try:
        subprocess.run([npm, "pack", AXE], cwd=folder, capture_output=True, check=True, timeout=60)
    except (subprocess.SubprocessError, OSError):
        pytest.skip(f"needs {AXE}, which npm cannot fetch here")
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        return package.extractfile("package/axe.min.js").read().decode()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_run_is_watched_while_it_goes_on(viewer, browser):
    set_screen(browser)
    browser.get(viewer.address)
    wait(browser, "document.querySelector('#live.live')")
    wait(browser, "document.querySelector('.empty')?.textContent.includes('no run in')")
    run = writing.begin(viewer.folder / "mine")
    writing.step(run, 0)
    card = "document.querySelector(`.card[data-name=${arguments[0]}] img`)?.naturalWidth === 32"
    times = [wait(browser, card, "mine")[1]]
    for name in ("second", "third"):
        writing.step(writing.begin(viewer.folder / name), 0)
        times.append(wait(browser, card, name)[1])
        shutil.rmtree(viewer.folder / name)
    assert min(times) < SOON  # the least, since the machine may do much else at the same time
    wait(browser, "document.querySelectorAll('.card').length === 1")
    before = browser.execute_script("return document.querySelector('.card img').src")
    writing.step(run, 10)
    wait(browser, "document.querySelector('.card img').src !== arguments[0]", before)
    assert "running 10 %" in browser.execute_script("return document.querySelector('.card').textContent")
    browser.get(f"{viewer.address}run/mine")
    sources = "[...document.querySelectorAll('.panel img')].map(image => image.src)"
    shown = f"{sources}.map(source => source.match(/images.(\\d+)/)?.[1]).find(Boolean)"
    wait(browser, f"{shown} === '000010'")
    writing.step(run, 20)
    wait(browser, f"{shown} === '000020'")  # it follows
    slider = "document.querySelector('.scrubber input')"
    browser.execute_script(f"{slider}.value = 0; {slider}.dispatchEvent(new Event('input'))")
    wait(browser, f"{shown} === '000000'")
    writing.step(run, 30)
    wait(browser, f"{slider}.max === '3'")
    assert browser.execute_script(f"return {shown}") == "000000"  # who looks at a step stays there
    writing.end(run)
    wait(browser, "document.querySelector('.state').textContent === 'finished'")
    wait(browser, "document.querySelector('.figures')?.textContent.includes('30.0 dB')")
    shutil.rmtree(run.path)
    wait(browser, "document.body.textContent.includes('This run directory is gone')")
    browser.get_log("browser")  # the answer 404 for what is gone
    check_nothing_wrong(browser, viewer)


def test_the_images_of_a_run(viewer, browser):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    writing.whole(viewer.folder / "mine", count=5)
    set_screen(browser)
    browser.get(f"{viewer.address}run/mine")
    wait(browser, "document.querySelectorAll('.panels:not([hidden]) .content').length === 3")
    wait(browser, "[...document.querySelectorAll('.panels:not([hidden]) img')].every(i => i.naturalWidth === 32)")
    # The difference of the result and the target is 0 everywhere, and that of the gray start is not.
    colors = """(() => {
      const canvas = document.querySelector('.view canvas');
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return canvas.width === 32 && new Set([...data].filter((value, index) => index % 4 === 0)).size;
    })()"""
    assert wait(browser, colors)[0] == 1
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.HOME)
    wait(browser, f"{colors} > 50")
    caption = "document.querySelector('.scrubber output').textContent"
    assert wait(browser, caption)[0] == "Step 0, 10.0 dB"
    body.send_keys(Keys.ARROW_RIGHT)
    assert wait(browser, caption)[0] == "Step 25, 15.0 dB"
    body.send_keys(" ")  # plays to the end
    wait(browser, f"{caption} === 'Result, 30.0 dB'")
    body.send_keys(Keys.HOME)
    # Twice in one go, because it could have played to its end in between.
    pressed = "const play = document.querySelector('.play'); return [0, 1].map(() => { play.click(); return play.ariaLabel; })"
    assert browser.execute_script(pressed) == ["Pause", "Play"]

    transforms = "[...new Set([...document.querySelectorAll('.stage .content')].map(c => c.style.transform))]"
    browser.find_element(By.CSS_SELECTOR, "[aria-label='Zoom in']").click()
    (zoomed,) = browser.execute_script(f"return {transforms}")  # all of them, those of the slider too
    assert "scale(1.5)" in zoomed
    view = browser.find_element(By.CSS_SELECTOR, ".view")
    ActionChains(browser).click_and_hold(view).move_by_offset(60, 30).release().perform()
    (moved,) = browser.execute_script(f"return {transforms}")
    assert moved != zoomed
    view.send_keys("0")
    assert "scale(1)" in browser.execute_script(f"return {transforms}")[0]

    browser.find_element(By.XPATH, "//button[text()='Slider']").click()
    over = "document.querySelector('.over').style.clipPath"
    assert "50%" in browser.execute_script(f"return {over}")
    slider = browser.find_element(By.CSS_SELECTOR, ".wide input")
    slider.send_keys(Keys.HOME)
    assert "100%" in browser.execute_script(f"return {over}")
    wide = browser.find_element(By.CSS_SELECTOR, ".wide .view")
    ActionChains(browser).move_to_element_with_offset(wide, 100, 0).click().perform()
    assert browser.execute_script(f"return {over}") not in ("inset(0px 100% 0px 0px)", "inset(0px 50% 0px 0px)")
    assert browser.execute_script("return document.querySelectorAll('.curve').length") >= 4
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    text = browser.execute_script("return document.body.innerText")
    for words in ("tfinvert invert --model=resnet18", "metrics.jsonl", "0.2.0"):
        assert words in text
    check_nothing_wrong(browser, viewer)


def test_layers_are_browsed_and_runs_compared(viewer, browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    writing.sweep(viewer.folder / "sweep")
    writing.sweep(viewer.folder / "other", network="alexnet", layers=("conv1", "conv2"))
    set_screen(browser)
    browser.get(viewer.address)
    wait(browser, "document.querySelectorAll('.strip').length === 2")
    browser.find_element(By.XPATH, "//a[contains(., 'resnet18')]").click()
    wait(browser, "document.querySelectorAll('.layer').length === 4")
    assert browser.execute_script("return [...document.querySelectorAll('.layer .name')].map(e => e.textContent)") == [
        *("conv1", "res1", "res2", "res3")
    ]
    assert browser.execute_script("return document.querySelectorAll('.edge.skip').length") == 2
    browser.find_element(By.CSS_SELECTOR, ".layer").click()
    head = "document.querySelector('.layer-head').innerText"
    wait(browser, f"{head}.includes('conv1') && {head}.includes('40.0 dB')")
    browser.find_element(By.CSS_SELECTOR, "[role=listbox]").send_keys(Keys.ARROW_DOWN)
    wait(browser, f"{head}.includes('res1') && {head}.includes('32.0 dB')")
    wait(browser, "document.querySelector('[aria-selected=true] .name').textContent === 'res1'")
    wait(browser, "document.querySelectorAll('.stage.first img')[1].src.includes('sweep/res1/final.png')")
    assert "layer=res1" in browser.current_url
    browser.find_element(By.XPATH, "//button[text()='SSIM']").click()
    assert browser.execute_script("return document.querySelector('.layer .value').textContent") == "0.800"
    assert browser.execute_script("return document.querySelectorAll('.chart .dot').length") == 4
    browser.find_element(By.XPATH, "//option[contains(., 'alexnet')]").click()
    wait(browser, "document.querySelectorAll('.column.right .layer').length === 2")
    wait(browser, "document.querySelectorAll('.stage.second img')[1].src.includes('/other/conv')")
    wait(browser, "document.querySelectorAll('.chart .curve').length === 2")
    wait(browser, "/^res1 .*, conv[12] /.test(document.querySelector('.chart .readout').textContent)")  # each its own layer
    address = browser.current_url
    browser.get(address)  # it can be kept and sent
    wait(browser, "document.querySelectorAll('.column.right .layer').length === 2")
    wait(browser, f"{head}.includes('res1')")

    browser.get(viewer.address)
    wait(browser, "document.querySelectorAll('.card').length === 6")
    search = browser.find_element(By.CSS_SELECTOR, "input[type=search]")
    search.send_keys("res3")
    wait(browser, "document.querySelectorAll('.card').length === 1")
    search.send_keys(Keys.BACKSPACE, "1")
    wait(browser, "document.querySelector('.card')?.dataset.name === 'sweep/res1'")
    search.clear()
    search.send_keys(" ")
    wait(browser, "document.querySelectorAll('.card').length === 6")
    for name in ("sweep/res1", "other/conv2"):
        browser.find_element(By.CSS_SELECTOR, f".card[data-name='{name}'] input").click()
    browser.find_element(By.XPATH, "//a[text()='Compare' and contains(@class, 'button')]").click()
    table = "document.querySelector('table')?.innerText"
    wait(browser, f"{table}?.includes('--layers')")
    rows = browser.execute_script(f"return {table}").split("\n")
    assert [row.split()[0] for row in rows] == ["flag", "--layers", "--model"]
    assert browser.execute_script("return document.querySelectorAll('.panels:not([hidden]) .view').length") == 3
    check_nothing_wrong(browser, viewer)


def test_every_page_suits_every_screen_and_reader(viewer, browser, axe):
    writing.sweep(viewer.folder / "sweep")
    writing.sweep(viewer.folder / "other", network="alexnet", layers=("conv1", "conv2"))
    writing.step(writing.begin(viewer.folder / ("a-run-with-a-very-long-name" * 6)), 10)
    for page in PAGES:
        browser.get(f"{viewer.address}{page[1:]}")
        wait(browser, "document.querySelector('main img')?.naturalWidth === 32")
        for scheme, dark in (("dark", True), ("light", False)):
            set_screen(browser, scheme=scheme)
            color = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", color)[:3])) < 200) == dark
            browser.execute_script(axe)
            found = browser.execute_async_script("axe.run(document).then(found => arguments[0](found.violations))")
            assert [(each["id"], each["nodes"][0]["html"], each["nodes"][0]["failureSummary"]) for each in found] == [], page
        for width in (400, 700, 1100, 1600, 2560):
            set_screen(browser, width)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width, (page, width)
    check_nothing_wrong(browser, viewer)


def test_what_a_stranger_wrote_is_text(viewer, browser):
    name = "<img src=x onerror=document.title=1>"
    for place, damage in enumerate(writing.DAMAGES):
        damage(writing.whole(viewer.folder / f"{place}{name}".replace("/", "")))
    writing.whole(viewer.folder / f"a {name}%2e%2e?&#", layer=name, network=name, image=name)
    set_screen(browser)
    browser.get(viewer.address)
    wait(browser, "document.querySelectorAll('.card').length === arguments[0]", len(writing.DAMAGES) + 1)
    links = browser.execute_script("return [...document.querySelectorAll('.card a')].map(a => a.href)")
    for link in links:
        browser.get(link)
        wait(browser, "document.querySelector('h1') && document.querySelectorAll('.details > *').length > 0")
        assert browser.execute_script("return document.querySelectorAll('img[src=x], main script, main b').length") == 0
        assert "– tfinvert" in browser.title
    assert [entry for entry in browser.get_log("browser") if "Security Policy" in entry["message"]] == []


@pytest.mark.slow
def test_a_real_run_is_watched(viewer, browser, small_file):
    set_screen(browser)
    browser.get(viewer.address)
    wait(browser, "document.querySelector('#live.live')")
    arguments = (f"--onnx={small_file}", "--preprocessing=none", "--layers=conv2_1", "--steps=3000", "--save_every=20")
    process = start_program(*arguments, f"--output_dir={viewer.folder / 'real'}")
    threading.Thread(target=process.communicate, daemon=True).start()
    wait(browser, "document.querySelector('.card')?.dataset.state === 'running'", seconds=60)
    wait(browser, "document.querySelector('.card img')?.naturalWidth === 32", seconds=30)
    wait(browser, "document.querySelector('.card')?.dataset.state === 'finished'", seconds=120)
    assert "dB" in browser.execute_script("return document.querySelector('.card').textContent")
    check_nothing_wrong(browser, viewer)
