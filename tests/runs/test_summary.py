from tfinvert.runs.summary import describe_inversion

RESULT = {"psnr": 30.123, "ssim": 0.5, "normalized_feature_error": 0.01234, "seconds": 2.0, "steps_per_second": 75.0}
RESULT |= {"peak_memory_mb": 700.4, "mv2015_error": 0.2, "mv2016_error": 0.1}


def test_the_figures_of_an_inversion_in_words():
    assert describe_inversion({"weights": "pretrained", "result": RESULT}).splitlines() == [
        "PSNR 30.12 dB, SSIM 0.5000, normalized feature error 0.0123; 2.0 s, 75.0 steps/s, 700 MB at most",
        "error of Mahendran & Vedaldi 2015 0.2, of 2016 0.1",
        "weights: pretrained",
    ]


def test_restarts_have_a_mean_and_an_interval():
    text = describe_inversion({"result": {**RESULT, "restarts": [{"psnr": 29.0}, {"psnr": 31.0}]}})
    assert "best of 2 restarts; mean 30.00 dB, 95 % interval +-12.71" in text


def test_a_damaged_result_has_no_numbers():
    damaged = {"psnr": "x", "ssim": None, "seconds": 10**400, "starts": [5]}
    assert describe_inversion({"result": damaged}).startswith("PSNR nan dB, SSIM nan")
    assert "restarts" not in describe_inversion({"result": damaged})
    assert describe_inversion({}).endswith("weights: None")
