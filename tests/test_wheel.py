"""The installed program: a wheel in a fresh environment, used from an empty folder, without the checkout."""

import email
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

import tfinvert
from tests.conftest import ROOT
from tfinvert.settings import packaged

pytestmark = pytest.mark.slow
SMALL = ("--weights=random", "--size=64", "--steps=3")


def environment():
    """The environment variables, without those by which Python would find the checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder, source = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("source")
    for name in ("tfinvert", "flags"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode and "setuptools" in done.stderr:
        pytest.skip("needs a package index, for setuptools")
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("tfinvert-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The program in an environment of its own, which has nothing else but our dependencies."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = [folder / "bin" / "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(command, env=environment(), check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))  # whose own .pth files, the checkout's, are not read
    return folder / "bin" / "tfinvert"


@pytest.fixture
def run(installed, tmp_path):
    def call(*arguments):
        options = {"cwd": tmp_path, "env": environment(), "capture_output": True, "text": True, "timeout": 300, "check": False}
        return subprocess.run([installed, *arguments], **options)

    return call


def test_the_wheel_carries_the_flagfiles_and_its_description(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = email.message_from_bytes(archive.read(next(name for name in names if name.endswith("METADATA"))))
    assert sorted(name for name in names if name.endswith(".flags")) == sorted(
        f"tfinvert/flags/{path.name}" for path in (ROOT / "flags").glob("*.flags")
    )
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "flags/"))]
    assert metadata["Version"] == tfinvert.__version__
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "Programming Language :: Python :: 3.12" in metadata.get_all("Classifier")
    assert metadata.get_all("Project-URL")


def test_the_installed_program_answers_from_an_empty_folder(run, tmp_path):
    assert run("--version").stdout.startswith(f"tfinvert {tfinvert.__version__} ")
    listed = [line.split()[0] for line in run("examples").stdout.splitlines()[2:]]
    assert listed == packaged.names()
    assert "+--tv_weight=10.0" in run("diff", "--questions=q2.2").stdout
    assert list(tmp_path.iterdir()) == []


def test_the_installed_program_runs_the_demo_and_the_suite(run, tmp_path):
    demo = run("demo", *SMALL)
    assert demo.returncode == 0, demo.stderr
    assert (tmp_path / "out" / "quickstart" / "final.png").is_file()
    again = run("demo", *SMALL)
    assert "holds this run, which is finished" in again.stderr
    assert again.stdout == demo.stdout
    suite = run("suite", "--questions=q3.1", *SMALL)
    assert suite.returncode == 0, suite.stderr
    assert (tmp_path / "out" / "suite" / "q3.1" / "report.html").is_file()
    named = run("--flagfile=q3.1", *SMALL)
    assert (tmp_path / "out" / "q3.1" / "final.png").is_file(), named.stderr
