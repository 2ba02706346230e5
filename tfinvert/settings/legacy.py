"""The run.flags files of version 0.1, in which numbers such as -1 stood for settings that were not given."""

from __future__ import annotations

HEADER = "# tfinvert "  # A run.flags begins with "# tfinvert 0.2" or a later version; those of version 0.1 have no such line.
RENAMED = {"keep_colour": "keep_color"}
# What version 0.1 wrote for settings that were not given. In the experiments that are not named here, every number is meant.
NOT_GIVEN_IN_INVERSIONS = {
    "steps": "0",
    "learning_rate": "0.0",
    "decay_steps": "0",
    "warmup_steps": "0",
    "tv_weight": "-1.0",
    "alpha_weight": "0.0",
    "regularizer_final": "-1.0",
    "jitter": "0",
    "jitter_steps": "0",
    "pyramid_levels": "-1",
    "schedule": "auto",
    "parameterization": "auto",
}
NOT_GIVEN = {
    **dict.fromkeys(("invert", "layers", "suite", "diff", "report", "sweep", "compare"), NOT_GIVEN_IN_INVERSIONS),
    "class_vis": {"learning_rate": "0.0"},
    "train_decoder": {"epoch_pictures": "0"},
    "compare_decoders": {"learning_rate": "0.0", "tv_weight": "-1.0"},
}
# Flags that had no effect, and that the experiment does not take any more.
DROPPED = {"class_vis": ("image",), "train_decoder": ("image",)}
# These presets gave numbers of their own, so that there 0 was the user's: --preset=mv2015 --alpha_weight=0 had no alpha norm.
GIVEN_BY_PRESET = {
    "mv2015": ("steps", "learning_rate", "tv_weight", "alpha_weight"),
    "mv2016": ("steps", "tv_weight", "alpha_weight", "jitter_steps"),
}


def modernized(text: str) -> str:
    """Turns the text of a run.flags of version 0.1 into today's form. The text of a newer one is returned as it is.

    Lines that stood for "not given" are left out, and flags that were renamed have their new names. A flagfile that a user
    wrote must not pass through here: in it, --alpha_weight=0 means no alpha norm.

    Args:
      text: the content of a run.flags, with one `--name=value` on each line.

    Example:
      >>> modernized("--experiment=invert\\n--steps=0\\n--seed=3\\n")
      '--experiment=invert\\n--seed=3\\n'
    """
    if text.startswith(HEADER):
        return text
    lines = text.split("\n")
    flags = dict(map(_split, lines))
    not_given = dict(NOT_GIVEN.get(flags.get("experiment", "invert"), {}))
    for name in GIVEN_BY_PRESET.get(flags.get("preset", "auto"), ()):
        not_given.pop(name, None)
    kept = []
    for line in lines:
        name, value = _split(line)
        if not_given.get(name) != value and name not in DROPPED.get(flags.get("experiment", ""), ()):
            kept.append(line.replace(name, RENAMED[name], 1) if name in RENAMED else line)
    return "\n".join(kept)


def _split(line: str) -> tuple[str, str]:
    """The name and the value of a flag; the name is empty where the line is no flag."""
    name, _, value = line.partition("=")
    return (name[2:], value) if name.startswith("--") else ("", value)
