"""The settings of a comparison with PyTorch."""

from __future__ import annotations

from tfinvert.comparison import known
from tfinvert.settings.fields import define, setting
from tfinvert.settings.groups import FolderSettings, HomeworkNetworkSettings, OneImageSettings
from tfinvert.settings.inversion import InversionSettings

TORCH_VARIANTS = ("channels_last", "eager", "compile")


@define
class CompareSettings(InversionSettings, FolderSettings, OneImageSettings, HomeworkNetworkSettings):
    """The comparison"""

    torch_variants: tuple[str, ...] = setting(
        default=TORCH_VARIANTS,
        doc=f"Ways to run PyTorch: {', '.join(TORCH_VARIANTS)}. The first makes all steps, the others 30 to show their speed.",
        choices=TORCH_VARIANTS,
        placement=True,
    )

    def check(self) -> None:
        super().check()
        known.check_settings(self)
