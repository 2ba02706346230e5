"""The run.flags files of earlier versions, in which images were squashed; in 0.1, -1 and the like stood for "not given"."""

from __future__ import annotations

from tfinvert.settings.inversion import ADAM_BETA_2

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
    "train_decoder": {"epoch_pictures": "0", "class_count": "20"},
    "compare_decoders": {"learning_rate": "0.0", "tv_weight": "-1.0"},
}
INVERTING = ("invert", "sweep", "compare")  # with Adam, whose memory of squared gradients had no flag
RESIZING = ("invert", "compare", "saliency", "fool", "decode", "compare_decoders")
# Flags that had no effect, and that the experiment does not take any more.
DROPPED = {"class_vis": ("image",), "train_decoder": ("image",)}
# These presets gave numbers of their own, so that there 0 was the user's: --preset=mv2015 --alpha_weight=0 had no alpha norm.
GIVEN_BY_PRESET = {
    "mv2015": ("steps", "learning_rate", "tv_weight", "alpha_weight"),
    "mv2016": ("steps", "tv_weight", "alpha_weight", "jitter_steps"),
}


def modernized(text: str) -> str:
    """Turns the text of a run.flags of version 0.1 into today's form.

    Lines that stood for "not given" are left out, flags that were renamed have their new names, and inversions have the Adam of
    that version. In a newer one, it is only added that images were squashed, where no flag says how they were resized. A
    flagfile that a user wrote must not pass through here: in it, --alpha_weight=0 means no alpha norm.

    Args:
      text: the content of a run.flags, with one `--name=value` on each line.

    Example:
      >>> modernized("--experiment=invert\\n--steps=0\\n--seed=3\\n")
      '--experiment=invert\\n--seed=3\\n--resize=squash\\n--beta_2=0.999\\n'
    """
    lines = text.split("\n")
    flags = dict(map(_split, lines))
    # Images were squashed before there was a flag for it.
    resized = ("--resize=squash",) if flags.get("experiment") in RESIZING and "resize" not in flags else ()
    if text.startswith(HEADER):
        return _with(text, resized)
    not_given = dict(NOT_GIVEN.get(flags.get("experiment", "invert"), {}))
    for name in GIVEN_BY_PRESET.get(flags.get("preset", "auto"), ()):
        not_given.pop(name, None)
    kept = []
    for line in lines:
        name, value = _split(line)
        if not_given.get(name) != value and name not in DROPPED.get(flags.get("experiment", ""), ()):
            kept.append(line.replace(name, RENAMED[name], 1) if name in RENAMED else line)
    adam = (f"--beta_2={ADAM_BETA_2}",) if flags.get("experiment") in INVERTING and "beta_2" not in flags else ()
    return _with("\n".join(kept), resized + adam)


def _with(text: str, flags: tuple[str, ...]) -> str:
    """The text with more flags, one a line."""
    return "\n".join([text.removesuffix("\n"), *flags, ""]) if flags else text


def _split(line: str) -> tuple[str, str]:
    """The name and the value of a flag; the name is empty where the line is no flag."""
    name, _, value = line.partition("=")
    return (name[2:], value) if name.startswith("--") else ("", value)
