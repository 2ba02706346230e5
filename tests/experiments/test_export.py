"""Films, figures and pages from run directories."""

import hashlib
import re
import sys

import numpy as np
import pytest
from PIL import Image

from tests.reports.viewer import writing
from tfinvert import experiments
from tfinvert.reports import differences, film
from tfinvert.system.errors import InputError


@pytest.fixture
def run(tmp_path):
    return writing.whole(tmp_path / "mine", count=6)


def export(folder, kind, **options):
    """The files that the experiment writes."""
    experiment = experiments.find("export")
    settings = experiment.settings(run=str(folder), format=kind, output_dir=str(folder.parent / "export"), **options)
    return list(experiment.module.run(settings).paths)


@pytest.mark.parametrize("kind", ["gif", "webp", "mp4", "png", "svg", "pdf", "html"])
def test_the_same_run_gives_the_same_bytes(run, kind):
    if kind == "mp4":
        pytest.importorskip("av")
    paths = export(run.path, kind)
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in export(run.path, kind)] == before
    assert {path.suffix for path in paths} == {f".{kind}"}
    assert all(path.name.startswith("mine") for path in paths)


def test_a_film_shows_each_step_beside_the_target(run):
    (path,) = export(run.path, "gif")
    with Image.open(path) as opened:
        assert opened.n_frames == 6
        assert opened.size == (2 * 224 + 8, 224 + 34)
        palettes, frames = [], []
        for number in range(opened.n_frames):
            opened.seek(number)
            frames.append(np.asarray(opened.convert("RGB"), float))
            palettes.append(opened.info.get("duration"))
    assert palettes[-1] == 2000
    last = frames[-1]
    assert np.abs(last[:224, :224] - last[:224, -224:]).mean() < 20  # the result is the target, but for the dithering
    assert np.abs(frames[0][:224, :224] - frames[0][:224, -224:]).mean() > 40  # the start is gray
    assert (frames[0][:224, :224] == last[:224, :224]).all()  # what stands still does not flicker
    counters = {frame[228:, :200].tobytes() for frame in frames}
    assert len(counters) == 6
    colors = {tuple(color) for frame in frames for color in frame.reshape(-1, 3)}
    assert len(colors) <= 256


def test_a_long_film_is_thinned(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    frames = [film.Frame(tmp_path / "a.png", f"step {number}", number / 999) for number in range(1000)]
    film.write(tmp_path / "x.webp", "webp", frames, None)
    with Image.open(tmp_path / "x.webp") as opened:
        assert 100 < opened.n_frames <= film.MOST_FRAMES


def test_without_its_package_a_video_is_refused_in_one_line(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"--format=mp4 needs PyAV: pip install av"):
        export(run.path, "mp4")


@pytest.mark.parametrize(("width", "inches"), [("single", 3.5), ("double", 7.16)])
def test_figures_have_the_widths_of_a_paper(run, tmp_path, width, inches):
    pictures, curves = export(run.path, "png", width=width)
    assert (pictures.name, curves.name) == ("mine-images.png", "mine-curves.png")
    for path in (pictures, curves):
        with Image.open(path) as opened:
            assert abs(opened.size[0] / 300 - inches) < 0.15
    svg = export(run.path, "svg", width=width)[0].read_text()
    assert "<text" not in svg  # the letters are drawn, and look the same everywhere


def test_a_sweep_is_exported_by_depth(tmp_path):
    writing.sweep(tmp_path / "sweep")
    assert [path.name for path in export(tmp_path / "sweep", "pdf")] == ["sweep-depth.pdf"]
    (path,) = export(tmp_path / "sweep", "gif")
    with Image.open(path) as opened:
        assert opened.n_frames == 4
    html = export(tmp_path / "sweep", "html")[0].read_text()
    assert html.index(">conv1<") < html.index(">res3<")
    assert not re.search(r'(src|href)="(?!data:|#)|url\((?!#)', html)  # it loads nothing


def test_other_experiments_are_exported_too(tmp_path):
    run = writing.begin(tmp_path / "maps", experiment="saliency")
    for name in ("00-image", "00-gradient"):
        Image.fromarray(np.uint8(255 * writing.TARGET)).save(run.images / f"{name}.png")
    run.write_info({**run.read_info(), "result": {"classes": [{"name": "<b>cat", "probability": 0.5}], "seconds": 1.5}})
    html = export(run.path, "html")[0].read_text()
    assert "&lt;b&gt;cat" in html
    assert html.count("data:image/webp") == 3  # the target, too
    assert [path.name for path in export(run.path, "png")] == ["maps-images.png"]
    with pytest.raises(InputError, match="a film needs 2"):
        export(run.path, "gif")


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="neither a run directory nor the folder of a sweep"):
        export(tmp_path / "empty", "gif")
    with pytest.raises(InputError, match="there is no folder"):
        export(tmp_path / "nowhere", "gif")
    with pytest.raises(InputError, match="--run is empty"):
        experiments.find("export").settings()


def test_the_colors_of_a_difference_have_its_sign():
    zero = np.zeros((2, 2, 3))
    darker, equal, brighter = (differences.signed(zero + value, zero + 0.5)[0, 0] for value in (0.3, 0.5, 0.7))
    assert darker[2] > darker[0]
    assert brighter[0] > brighter[2]
    assert np.abs(equal - differences.EQUAL).max() < 1e-6
    assert (differences.signed(zero, zero + 0.9) == differences.color(np.array([-1.0]))).all()  # beyond the ends
    bar = differences.bar(9, 2)
    assert bar.shape == (2, 9, 3)
    np.testing.assert_allclose(bar[0, 4], differences.EQUAL, atol=1e-6)
