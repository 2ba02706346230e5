"""Settings: fields that carry type, default, help and checks, and groups of them that experiments combine."""

from tfinvert.settings.fields import Settings, changed, define, setting
from tfinvert.settings.groups import (
    FolderSettings,
    HomeworkNetworkSettings,
    ImageSettings,
    NetworkSettings,
    OneImageSettings,
    ResumableSettings,
    RunSettings,
)
from tfinvert.settings.inversion import InversionSettings

__all__ = [
    "FolderSettings",
    "HomeworkNetworkSettings",
    "ImageSettings",
    "InversionSettings",
    "NetworkSettings",
    "OneImageSettings",
    "ResumableSettings",
    "RunSettings",
    "Settings",
    "changed",
    "define",
    "setting",
]
