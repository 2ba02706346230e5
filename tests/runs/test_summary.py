import pytest

from tfinvert.runs.summary import describe_figures, describe_inversion, where

RESULT = {"psnr": 30.123, "ssim": 0.5, "normalized_feature_error": 0.01234, "seconds": 2.0, "steps_per_second": 75.0}
RESULT |= {"peak_memory_mb": 700.4, "mv2015_error": 0.2, "mv2016_error": 0.1}
RUN = {"image": "/photos/cat.jpg", "network": "resnet18", "layers": {"res2": {}, "fc": {}}, "weights": "pretrained"}
CAT = {"name": "Egyptian cat", "index": 285, "probability": 0.7211}
ATTACK = {"target": "stingray", "probability_before": 1e-7, "probability_after": 0.5345, "largest_change": 17, "steps": 16}


def test_the_figures_of_an_inversion_in_words():
    assert describe_inversion({**RUN, "result": RESULT}).splitlines() == [
        "cat, resnet18 res2+fc: PSNR 30.12 dB, feature error 0.012, 150 steps in 2.0 s",
        "weights: pretrained",
    ]


def test_restarts_have_a_mean_and_an_interval():
    text = describe_inversion({"result": {**RESULT, "restarts": [{"psnr": 29.0}, {"psnr": 31.0}]}})
    assert "best of 2 restarts; mean 30.00 dB, 95 % interval +-12.71" in text


def test_a_damaged_result_has_no_numbers():
    damaged = {"psnr": "x", "ssim": None, "seconds": 10**400, "starts": [5]}
    assert "PSNR nan dB, feature error nan, ? steps in nan s" in describe_inversion({"result": damaged})
    assert "restarts" not in describe_inversion({"result": damaged})
    assert describe_inversion({}).endswith("weights: None")
    assert describe_figures({"result": {"classes": [None, {"name": 3}], "targets": [{"target": "x", "score": []}]}})


def test_an_attack_in_words():
    result = {"original": CAT, "fooled": "1 of 2", "seconds": 1.0}
    missed = {**ATTACK, "target": "tick", "probability_after": 0.0004, "fooled": False, "seen": "Egyptian cat"}
    lines = describe_figures({**RUN, "result": {**result, "targets": [{**ATTACK, "fooled": True}, missed]}}).splitlines()
    assert lines == [
        "cat → stingray 53 % (was Egyptian cat 72 %), 16 steps, largest change 17/255",
        "cat → tick 0.04 % (was Egyptian cat 72 %), not fooled: still Egyptian cat, 16 steps, largest change 17/255",
        "weights: pretrained",
    ]


def test_the_classes_of_images_in_words():
    dog = {"name": "beagle", "probability": 0.99951}
    text = describe_figures({**RUN, "image": "cat.jpg, dogs/dog.png", "result": {"classes": [CAT, dog], "peak_memory_mb": 5.0}})
    assert text == "cat: Egyptian cat 72 %\ndog: beagle 100.0 %\nweights: pretrained"


def test_other_figures_are_one_line():
    assert describe_figures({"result": {"psnr": 12.3456, "psnr_gain": 2, "targets": [{"target": "res2 4", "score": 1.5}]}}) == (
        "res2 4: score 1.5\npsnr 12.35, psnr gain 2\nweights: None"
    )


@pytest.mark.parametrize(("view", "more"), [("", ""), ("tfinvert view", "\nto see them: tfinvert view {}")])
def test_where_the_images_are(tmp_path, view, more):
    (tmp_path / "final.png").write_bytes(b"")
    (tmp_path / "images").mkdir()
    assert where(tmp_path, view) == f"{tmp_path}: final.png{more.format(tmp_path)}"
