"""The flagfiles of flags/ become a part of the package, so that `--flagfile=q1` works where tfinvert is installed."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["tfinvert*"]), "tfinvert.flags"],
    package_dir={"tfinvert.flags": "flags"},
    package_data={
        "tfinvert": ["reports/*.j2", "networks/imagenet_classes.txt", "reports/viewer/static/*"],
        "tfinvert.flags": ["*.flags"],
    },
)
