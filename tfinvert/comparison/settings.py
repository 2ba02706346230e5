"""The settings of a comparison with PyTorch."""

from __future__ import annotations

from tfinvert.comparison import known
from tfinvert.settings.fields import changed, define, setting
from tfinvert.settings.groups import FIXED_SIZE, FolderSettings, HomeworkNetworkSettings, ImageSettings, OneImageSettings
from tfinvert.settings.inversion import InversionSettings

TORCH_VARIANTS = ("channels_last", "eager", "compile")


@define
class CompareSettings(InversionSettings, FolderSettings, OneImageSettings, HomeworkNetworkSettings):
    """The comparison"""

    resize: str = changed(ImageSettings, "resize", default="crop", choices=FIXED_SIZE)
    torch_variants: tuple[str, ...] = setting(
        default=TORCH_VARIANTS,
        doc=f"Ways to run PyTorch: {', '.join(TORCH_VARIANTS)}. The first makes all steps, the others 30 to show their speed.",
        choices=TORCH_VARIANTS,
        placement=True,
    )

    def check(self) -> None:
        super().check()
        known.check_settings(self)
