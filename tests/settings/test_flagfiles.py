"""Flagfiles: they include one another, repeat a run, and are refused in one line where they are none."""

import os

import pytest

from tfinvert.experiments.invert import Settings
from tfinvert.experiments.suite import questions
from tfinvert.settings import flagfiles, flags
from tfinvert.system.errors import InputError


def test_a_run_s_flagfile_holds_every_value_but_where_the_run_goes():
    settings = Settings(layers=("a", "b"), size=(224, 320), decay_boundaries=(3, 4), output_dir="x", overwrite=True)
    text = flagfiles.text(settings)
    assert text.startswith("# tfinvert 0.2")
    lines = text.splitlines()[1:]
    assert lines[0] == "--experiment=invert"
    assert {"--layers=a,b", "--size=224x320", "--decay_boundaries=3,4", "--pool=avg"} <= set(lines)
    names = [line[2:].partition("=")[0] for line in lines]
    for name in ("output_dir", "overwrite", "resume", "onnx", "steps", "tv_weight"):  # where it goes, and what is not given
        assert name not in names


def test_a_run_s_flagfile_gives_the_same_settings(tmp_path):
    settings = Settings(
        layers=("a", "b"), layer_weights=(1, 2), size=(64, 96), tensorboard=True, alpha_weight=0, image="x, y.png"
    )
    (tmp_path / "run.flags").write_text(flagfiles.text(settings))
    assert Settings(**flags.values(Settings, flagfiles.expand([f"--flagfile={tmp_path / 'run.flags'}"]))) == settings


@pytest.mark.parametrize("line", ["steps=3", "--steps 3", "--steps = 3", "--steps: 3", "-- steps=3", "--", "---steps=3"])
def test_a_line_that_is_no_flag_is_shown(line, tmp_path):
    (tmp_path / "a.flags").write_text(f"--layers=conv1_1\n{line}\n")
    with pytest.raises(InputError, match=r"a\.flags has the line '.*'; expected --flag=value"):
        flagfiles.expand([f"--flagfile={tmp_path / 'a.flags'}"])


def test_paths_of_files_are_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.png").touch()
    assert f"--image={tmp_path}/photo.png,chelsea\n" in flagfiles.text(Settings(image=("photo.png", "chelsea")))


def test_a_tilde_stands_for_the_user_s_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("photo.png", "mine.py"):
        (tmp_path / name).touch()
    settings = Settings(image=("~/photo.png", "chelsea"), output_dir="~/out", term=("~/mine.py:calm",))
    assert settings.image == (f"{tmp_path}/photo.png", "chelsea")
    assert (str(settings.run_folder()), settings.term) == (f"{tmp_path}/out", (f"{tmp_path}/mine.py:calm",))
    assert f"--image={tmp_path}/photo.png,chelsea\n" in flagfiles.text(settings)


def test_an_included_file_is_found_beside_the_including_one(tmp_path, monkeypatch):
    (tmp_path / "flags").mkdir()
    (tmp_path / "flags" / "a.flags").write_text("# One\n--steps=3\n")
    (tmp_path / "flags" / "b.flags").write_text("// Two\n--flagfile=flags/a.flags\n\n  --seed=4  \n")
    monkeypatch.chdir("/")
    assert flagfiles.expand(["--pool=max", "--flagfile", str(tmp_path / "flags" / "b.flags")]) == [
        "--pool=max",
        "--steps=3",
        "--seed=4",
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_flagfile_is_read_as_any_editor_writes_it(encoding, end, tmp_path):
    """Windows' Notepad writes byte order marks, UTF-16 where it is asked to, and two characters at the end of a line."""
    content = end.join(["# Which images?", "--steps=3", "--image=Stra\u00dfe.png", ""])
    mark = "\ufeff" if encoding.endswith(("-le", "-be")) else ""  # the others write it themselves, or have none
    (tmp_path / "a.flags").write_bytes((mark + content).encode(encoding))
    assert flagfiles.expand([f"--flagfile={tmp_path / 'a.flags'}"]) == ["--steps=3", "--image=Stra\u00dfe.png"]
    assert questions.sentence(tmp_path / "a.flags") == "Which images?"


def test_a_flagfile_that_includes_one_with_a_byte_order_mark_has_its_flags(tmp_path):
    (tmp_path / "a.flags").write_bytes("--steps=3\r\n".encode("utf-16"))
    (tmp_path / "b.flags").write_bytes(b"\xef\xbb\xbf--flagfile=a.flags\r\n--seed=4")
    assert flagfiles.expand([f"--flagfile={tmp_path / 'b.flags'}"]) == ["--steps=3", "--seed=4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"steps=3\n", "the line 'steps=3'; expected --flag=value"),
        (b"\xff\xfe\x00", "is not text"),
        (b"--flagfile=a.flags\n", "includes itself"),
        (b"--flagfile=/dev/zero\n", "it is no regular file"),
        (b"--flagfile=pipe\n", "it is no regular file"),
        (b"--flagfile=.\n", "it is a directory"),
        (b"--flagfile=missing.flags\n", "cannot read the flagfile missing.flags"),
        (b"--flagfile\n", "needs a file"),
    ],
    ids=range(8),
)
def test_wrong_flagfiles(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.flags").write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=message):
        flagfiles.expand(["--flagfile=a.flags"])


def test_a_flagfile_at_no_path_is_refused():
    with pytest.raises(InputError, match="that is no path"):
        flagfiles.expand(["--flagfile=a\0b"])
