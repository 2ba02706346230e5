"""The sections of the page: which runs are in them, in which order, with which labels, charts and figures."""

from tests.reports.conftest import made
from tfinvert.reports.entries import Entry, read_run
from tfinvert.reports.sections import build_depth_section, build_sections, list_figures


def names(section):
    return [run.name for run in section.group]


def test_each_question_has_its_runs_beside_the_baseline(entries):
    sections = build_sections([read_run(entry) for entry in entries])
    assert [names(section) for section in sections] == [
        ["baseline", "q1"],
        ["baseline", "q2.1"],
        ["q3.1", "baseline", "q3.2", "q3.3"],  # by what the layers see
        ["baseline", "q4"],
    ]
    assert sections[0].labels == ("baseline", "q1")
    assert sections[1].labels == ("none\nbaseline", "1 x sum\nq2.1")
    assert sections[2].labels == ("conv1_1", "conv3_1", "pool5", "conv3_1\n+ fc6")
    assert sections[3].labels == ("vgg16-bn\nconv3_1", "resnet18\nres2")
    assert [[caption for caption, _ in section.charts] for section in sections] == [
        ["PSNR over the steps", "Feature loss over the steps"],
        ["PSNR by total variation"],
        ["PSNR by depth", "Normalized feature error by depth"],
        ["PSNR", "Steps per second"],
    ]
    assert all(svg.startswith("<svg") for section in sections for _, svg in section.charts)


def test_a_question_that_was_not_run_has_no_section(tmp_path):
    pair = [made(tmp_path / name, psnr=10.0, loss=[2.0, 1.0]) for name in ("baseline", "q2-mean")]
    (section,) = build_sections([read_run(entry) for entry in pair])
    assert section.title == "Question 2: what does total variation do?"


def test_other_runs_are_all_together(tmp_path):
    others = [made(tmp_path / name, psnr=psnr, loss=[2.0, 1.0]) for name, psnr in (("one", 10.0), ("two", 20.0))]
    runs = [read_run(entry) for entry in others]
    (section,) = build_sections(runs)
    assert section.title == "All runs"
    assert section.answer.startswith("The highest PSNR is that of two, 20.0 dB.")
    assert build_sections(runs[:1]) == []
    assert build_sections([]) == []


def test_runs_that_have_not_ended_are_left_out(tmp_path):
    entry = made(tmp_path / "conv1_1", psnr=10.0, loss=[2.0, 1.0], layers=("conv1_1",))
    runs = [read_run(Entry(tmp_path / "missing", "missing")), read_run(entry)]
    (section,) = build_depth_section(runs)
    assert names(section) == ["conv1_1"]
    assert build_depth_section(runs[:1]) == []


def test_the_table_has_a_row_for_each_run(entries):
    section = build_sections([read_run(entry) for entry in entries])[0]
    quality = ("feature loss", "PSNR", "PSNR of an even grey", "PSNR of the mean image", "SSIM", "normalized feature error")
    assert section.columns == (*quality, "seconds", "steps/s", "peak memory")
    assert section.rows[1] == ("q1", ("0.1", "30.00 dB", "10.79 dB", "10.61 dB", "0.5000", "0.01", "111.1", "18.0", "700 MB"))
    assert list_figures(read_run(Entry(entries[0].folder / "nowhere", "missing"))) == [("feature loss", "-")]


def photographs(folder, *, layers=("conv1_1", "conv3_1"), psnr=(30.0, 20.0), count=3):
    """Runs of several photographs, some of which are easier than others."""
    return [
        read_run(made(folder / f"{n}-{layer}", psnr=value + 4 * n, loss=[2.0, 1.0], layers=(layer,), image_sha256=f"{n}"))
        for n in range(count)
        for layer, value in zip(layers, psnr, strict=True)
    ]


def test_layers_of_several_images_are_compared_by_means_with_their_interval(tmp_path):
    (section,) = build_depth_section(photographs(tmp_path))
    assert section.heading == "layer"
    assert section.columns[:5] == (
        *("images", "mean PSNR", "95 % interval of the mean"),
        *("mean PSNR of an even grey", "mean PSNR of the mean image"),
    )
    assert [(layer, cells[:3]) for layer, cells in section.rows] == [
        ("conv1_1", ("3", "34.00 dB", "+-9.94 dB")),  # 4.302653 times the deviation 4 over the root of 3
        ("conv3_1", ("3", "24.00 dB", "+-9.94 dB")),
    ]
    # The intervals overlap, but on each photograph the difference is the same.
    assert "The deeper the layer, the less of the images comes back." in section.answer
    assert "conv1_1: 34.0 dB +-9.9 (3 images)" in section.answer
    assert next(caption for caption, _ in section.charts) == "Mean PSNR by depth, with the 95 % interval of the mean"


def test_layers_that_do_not_differ_on_the_photographs_are_not_told_apart(tmp_path):
    (section,) = build_depth_section(photographs(tmp_path, psnr=(20.2, 20.0)))
    assert "PSNR does not tell these layers apart." in section.answer


def test_different_photographs_are_never_compared(tmp_path):
    (section,) = build_sections(photographs(tmp_path, layers=("conv1_1",), psnr=(30.0,)))
    assert section.answer == "Each run has an image of its own; the PSNRs of different images are not compared."
    (both,) = build_sections(photographs(tmp_path / "both"))
    assert both.answer.count("The highest PSNR is that of") == 3  # for each photograph by itself
