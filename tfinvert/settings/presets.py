"""The presets of an inversion: values for what the user does not give."""

from __future__ import annotations

from typing import Any

# Mahendran & Vedaldi work in grey levels around the mean color: their weights have a factor of 255^2 for the differences of
# total variation and of 255^6 for the alpha norm; their rate has 1/255^2. sigma is the norm of a photograph there.
SIGMA = 27098.1157
# The values that a preset gives where the user does not, in units of images in [0, 1]. `presets.resolve` adds what depends
# on the layer.
PRESETS: dict[str, dict[str, Any]] = {
    "auto": {},
    "mv2015": {
        "feature_loss": "normalized",
        "tv_kind": "l2",
        "tv_reduction": "sum",
        "tv_weight": 1 / 2 / SIGMA**2 * 255**2,
        "alpha": 6.0,
        "alpha_kind": "values",
        "alpha_reduction": "sum",
        "alpha_weight": 8e-10 / 2 / SIGMA**2 * 255**6,
        "optimizer": "sgd",
        "momentum": 0.9,
        "momentum_reset": True,
        "learning_rate": 0.004 * SIGMA**2 / 255**2,
        "schedule": "piecewise",
        "decay_boundaries": (100, 300),
        "decay_factors": (0.1, 0.01),
        "steps": 400,
        "parameterization": "free",
        "init": "mv2015",
    },
    "mv2016": {
        "feature_loss": "normalized",
        "tv_kind": "l2",
        "tv_reduction": "mean",  # over pixels and channels; the paper's mean is over pixels
        "tv_weight": 3 * (6.5 / 80) ** 2 * 255**2,
        "alpha": 6.0,
        "alpha_kind": "pixels",
        "alpha_reduction": "mean",
        "alpha_weight": 3 * (255 / 80) ** 6,
        "optimizer": "mv2016",
        "schedule": "piecewise",
        "decay_boundaries": (300,),
        "decay_factors": (0.1,),
        "steps": 350,
        "jitter_steps": 300,
        "parameterization": "bounded",
        "init": "mv2016",
    },
}
