"""Checkpoints of a state: which are kept, which are found again, and what is no checkpoint of it."""

import shutil

import pytest
import tensorflow as tf

from tfinvert.runs.checkpoints import Checkpoints, writing
from tfinvert.system.errors import DiskError, InputError


def state(value=0.0):
    return tf.train.Checkpoint(value=tf.Variable(value))


def saved(folder, *steps, resumed_from=None):
    """A folder with checkpoints that hold the number of their step."""
    made = state()
    checkpoints = Checkpoints(made, folder)
    if resumed_from is not None:
        checkpoints.restore([resumed_from])
    for step in steps:
        made.value.assign(step)
        checkpoints.save(step)
    return folder


def restored(folder):
    made = state(-1.0)
    checkpoints = Checkpoints(made, folder)
    checkpoints.restore(checkpoints.whole())
    return float(made.value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_two_are_kept_and_the_newest_is_restored(tmp_path):
    folder = saved(tmp_path / "checkpoints", 8, 9, 10, 10)
    assert names(folder) == [f"ckpt-{n}.{part}" for n in (10, 9) for part in ("data-00000-of-00001", "index")]
    assert restored(folder) == 10
    assert list(Checkpoints(state(), folder).whole()) == [10, 9]


def test_without_checkpoints_the_state_stays(tmp_path, caplog):
    assert restored(tmp_path / "checkpoints") == -1
    assert caplog.text == ""


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-40], lambda data: data[:60] + b"x" + data[61:]])
@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_the_one_before_a_damaged_one_is_restored(part, damage, tmp_path, caplog):
    folder = saved(tmp_path / "checkpoints", 1, 2)
    path = folder / f"ckpt-2.{part}"
    path.write_bytes(damage(path.read_bytes()))
    assert restored(folder) == 1
    assert "ckpt-2 cannot be read; trying the one before it" in caplog.text


def test_a_checkpoint_without_what_belongs_to_it_is_passed_over(tmp_path, caplog):
    checkpoints = Checkpoints(state(), saved(tmp_path / "checkpoints", 1, 2))
    assert list(checkpoints.whole(lambda step: step < 2)) == [1]
    assert "are missing; trying the one before it" in caplog.text


def test_where_none_is_whole_the_log_says_so_and_the_state_stays(tmp_path, caplog):
    folder = saved(tmp_path / "checkpoints", 1, 2)
    for path in folder.glob("*.index"):
        path.write_bytes(b"")
    assert restored(folder) == -1
    assert "starting from the beginning" in caplog.text


def test_a_run_that_goes_on_from_an_older_one_keeps_that_and_forgets_the_newer(tmp_path):
    """Otherwise a damaged newer one would count as the newest, and push out the whole ones."""
    folder = saved(tmp_path / "checkpoints", 5, 8)
    saved(folder, 6, resumed_from=5)
    assert {name.partition(".")[0] for name in names(folder)} == {"ckpt-5", "ckpt-6"}
    assert restored(folder) == 6


def test_checkpoints_of_something_else_are_refused(tmp_path):
    other = tf.train.Checkpoint(other=tf.Variable(1.0))
    Checkpoints(other, tmp_path / "checkpoints").save(0)
    with pytest.raises(InputError, match="of another run"):
        restored(tmp_path / "checkpoints")


def test_checkpoints_of_version_0_1_are_restored_whatever_their_list_says(tmp_path):
    """It wrote them with a CheckpointManager, whose list TensorFlow would follow to files anywhere, and remove those."""
    made = state(3.0)
    tf.train.CheckpointManager(made, str(tmp_path / "checkpoints"), max_to_keep=2).save(7)
    elsewhere = saved(tmp_path / "elsewhere", 1)
    listed = f'model_checkpoint_path: "{elsewhere / "ckpt-1"}"\nall_model_checkpoint_paths: "{elsewhere / "ckpt-1"}"\n'
    (tmp_path / "checkpoints" / "checkpoint").write_text(listed)
    assert restored(tmp_path / "checkpoints") == 3
    saved(tmp_path / "checkpoints", 8, 9)
    assert "checkpoint" not in names(tmp_path / "checkpoints")
    assert restored(elsewhere) == 1


def test_what_a_killed_process_left_is_removed(tmp_path):
    folder = saved(tmp_path / "checkpoints", 1)
    (folder / "ckpt-3_temp").mkdir()
    for name in ("ckpt-3_temp/part-00000-of-00001.index", "checkpoint.tmp0123", "ckpt-2.data-00000-of-00001"):
        (folder / name).write_bytes(b"half")
    saved(folder, 4, resumed_from=1)
    assert {name.partition(".")[0] for name in names(folder)} == {"ckpt-1", "ckpt-4"}


def test_a_folder_that_is_gone_is_one_clear_line(tmp_path):
    checkpoints = Checkpoints(state(), tmp_path / "run" / "checkpoints")
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(DiskError, match="cannot be written \\(the folder is gone\\)"):
        checkpoints.save(1)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_not_whole_is_removed_and_those_before_it_stay(tmp_path, monkeypatch):
    folder = saved(tmp_path / "checkpoints", 1, 2)
    write = tf.train.Checkpoint.write

    def half(made, path):
        write(made, path)
        index = folder / "ckpt-3.index"
        index.write_bytes(index.read_bytes()[:60])

    monkeypatch.setattr(tf.train.Checkpoint, "write", half)
    with pytest.raises(DiskError, match="the one before it is kept: --resume goes on from there"):
        saved(folder, 3)
    assert {name.partition(".")[0] for name in names(folder)} == {"ckpt-1", "ckpt-2"}


def test_errors_of_tensorflow_become_errors_of_the_disk(tmp_path):
    with pytest.raises(OSError, match="No space left on device") as caught, writing(tmp_path / "events"):
        raise tf.errors.ResourceExhaustedError(None, None, "/x/events; No space left on device")
    assert caught.value.filename == str(tmp_path / "events")
