"""The names of a network's classes, and the class that a user means."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfinvert.networks.classes import Classes, read_names
from tfinvert.networks.classifier import of_classes
from tfinvert.networks.heads import Head
from tfinvert.system.errors import InputError


def classes(count, names=None, activation="softmax"):
    return Classes.of(Head("y", "scores", activation, count), names)


def test_imagenet_has_names_and_ids():
    network = classes(1000)
    assert [network.find(text) for text in ("366", "gorilla", "n02480855", " 0 ")] == [366, 366, 366, 0]
    assert network.name(366) == "gorilla"
    with pytest.raises(InputError, match="--class=1000 is beyond the network's classes; expected an index from 0 to 999"):
        network.find("1000")


def test_each_image_has_its_own_class_in_every_copy_of_a_batch_of_any_size():
    own = of_classes(lambda value: value, [2, 0])
    scores = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal(own(tf.constant(scores)), [2, 3, 8, 9])
    unknown = tf.function(own, input_signature=[tf.TensorSpec([None, 3])])  # where a layer forgets how many images there are
    np.testing.assert_array_equal(unknown(scores), [2, 3, 8, 9])


@pytest.mark.parametrize("count", [1, 2, 10, 365, 999, 1001, 21841])
@pytest.mark.parametrize("text", ["stingray", "goldfish", "n02480855", "tench"])
def test_names_of_imagenet_mean_nothing_to_other_networks(count, text):
    with pytest.raises(
        InputError, match=rf"--class={text}: the {max(count, 2)} classes of the network have no names; expected an "
    ):
        classes(count).find(text)
    assert classes(count).name(1) == "class 1"


def test_a_thousand_other_classes_are_not_imagenet():
    for network in (classes(1000, "none"), classes(1000, [f"person {n}" for n in range(1000)])):
        assert not network.is_imagenet
        with pytest.raises(InputError, match="--class=gorilla"):
            network.find("gorilla")
    assert not classes(1000, activation="sigmoid").is_imagenet


def test_a_single_score_is_two_classes():
    network = classes(1, ["cat", "dog"], "sigmoid")
    assert (network.count, network.exclusive, network.name(1), network.find("Dog")) == (2, True, "dog", 1)
    assert network.seen(np.array([0.4, 0.6])).tolist() == [False, True]
    with pytest.raises(InputError, match="--class_names has 1 names; expected 2"):
        classes(1, ["dog"], "sigmoid")


def test_several_labels_are_seen_at_once():
    seen = classes(3, activation="sigmoid").seen(np.array([[0.9, 0.6, 0.2], [0.1, 0.4, 0.3]]))
    assert seen.tolist() == [[True, True, False], [False, False, False]]
    assert classes(3).seen(np.array([[0.5, 0.3, 0.2]])).tolist() == [[True, False, False]]


def test_own_names_are_found_as_imagenet_s_are():
    network = classes(4, ["Grey wolf", "Timber_wolf", "dog", "C++"])
    assert [network.find(text) for text in ("grey wolf", "timber", "DOG", "3", "c++")] == [0, 1, 2, 3, 3]
    with pytest.raises(InputError, match="--class=wolf is 2 classes; expected one of: 0 Grey wolf; 1 Timber_wolf"):
        network.find("wolf")
    with pytest.raises(InputError, match="unknown --class=dgo; expected a class by its name or index; the nearest are: 2 dog"):
        network.find("dgo")


FILES = {
    "lines.txt": "cat\n dog \n\nbird\n",
    "windows.txt": "\ufeffcat\r\ndog\r\nbird\r\n",
    "numbered.txt": "0 cat\n1: dog\n2,bird\n",
    "list.json": json.dumps(["cat", "dog", "bird"]),
    "indices.json": json.dumps({"1": "dog", "0": "cat", "2": "bird"}),
    "keras.json": json.dumps({"0": ["n1", "cat"], "1": ["n2", "dog"], "2": ["n3", "bird"]}),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_names(name, tmp_path):
    (tmp_path / name).write_text(FILES[name], encoding="utf-8", newline="")
    assert read_names(str(tmp_path / name)) == ["cat", "dog", "bird"]


def test_names_that_begin_with_numbers_keep_them(tmp_path):
    (tmp_path / "names.txt").write_text("2 of hearts\n3 of hearts\n")
    assert read_names(tmp_path / "names.txt") == ["2 of hearts", "3 of hearts"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{}", b'{"a": 1}', b"[1, 2", b"a\x00b\n", b"\xff\xfe\x00c"])
def test_a_file_of_no_names(content, tmp_path):
    (tmp_path / "names").write_bytes(content)
    with pytest.raises(InputError, match="has no names of classes; expected one name a line") as caught:
        read_names(tmp_path / "names")
    assert "\n" not in str(caught.value)


def test_names_that_are_not_there(tmp_path):
    for source in (tmp_path / "missing.txt", tmp_path):
        with pytest.raises(InputError, match="cannot read --class_names="):
            read_names(source)
    with pytest.raises(InputError, match="class_names is 3; expected a list of names"):
        read_names(3)
