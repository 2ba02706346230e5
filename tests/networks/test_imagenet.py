import re

import pytest

from tfinvert.networks import imagenet
from tfinvert.system.errors import InputError


def test_a_thousand_classes_in_the_order_of_their_ids():
    ids = [one.wordnet_id for one in imagenet.classes()]
    assert len(ids) == 1000
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"n\d{8}", one) for one in ids)
    assert all(all(one.names) for one in imagenet.classes())


@pytest.mark.parametrize(
    ("text", "index"),
    # The first, the last, and the six of the course, whose indices it gives.
    [
        *(("tench", 0), ("toilet tissue", 999), ("tarantula", 76), ("tick", 78), ("Yorkshire terrier", 187)),
        *(("oboe", 683), ("gorilla", 366), ("hourglass", 604)),
        *(("n02480855", 366), ("N02480855", 366), ("Tibetan_Mastiff", 244), ("Gorilla gorilla", 366)),
        *(("mountain bike", 671), ("darning", 319)),  # parts of names of one class
    ],
)
def test_names_and_ids(text, index):
    assert imagenet.find(text) == index


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("crane", "is 2 classes; expected one of: 134 n02012849 crane; 517 n03126707 crane$"),
        ("terrier", "is 2[0-9] classes; .* and 1[0-9] more$"),
        ("gorila", "unknown --class=gorila; .*the nearest are: 366 n02480855 gorilla"),
        ("xyzzy", "unknown --class=xyzzy; expected an ImageNet class by name, index or WordNet id$"),
        ("", "unknown --class=;"),
        ("n00000001", "unknown --class=n00000001"),
    ],
)
def test_what_is_no_class_or_several(text, message):
    with pytest.raises(InputError, match=message):
        imagenet.find(text)
