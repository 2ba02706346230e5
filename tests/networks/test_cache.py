"""The cache of converted networks: listed, bounded, emptied."""

import os

import pytest

import tfinvert
from tfinvert.networks.conversion import cache
from tfinvert.networks.conversion.cache import Converted
from tfinvert.networks.conversion.request import Request
from tfinvert.networks.layer import Layer


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE", str(tmp_path))


def keep(name, used, size=1000):
    """Writes an entry that was last used at a time."""
    request = Request(None, f"/{name}.onnx", name, "pretrained", ("conv1",), None, "max", "torch")
    folder = cache.entry_folder(request)
    made = folder.parent / f".making-{name}"
    made.mkdir(parents=True)
    (made / "model.keras").write_bytes(bytes(size))
    layers = (Layer("conv1", "c", (4, 4, 3), (1, 1), (3, 3), 1e-6),)
    cache.describe_entry(made, Converted(made, layers, (8, 8), request, converter="keras", because="it was tried"))
    cache.keep_entry(made, folder, request)
    os.utime(folder / cache.DESCRIPTION, (used, used))
    return request, folder


def test_an_entry_says_what_it_is():
    request, folder = keep("net", 1)
    read = cache.read_entry(folder, request)
    assert (read.converter, read.because, read.layers[0].name) == ("keras", "it was tried", "conv1")
    (entry,) = cache.entries()
    assert (entry.network, entry.layers, entry.converter) == ("net.onnx", ("conv1",), "keras")
    assert entry.size > 1000


def test_the_entries_that_were_not_used_for_longest_go_first(monkeypatch):
    requests = {name: keep(name, used) for used, name in enumerate(("old", "older", "new"), 1)}
    cache.read_entry(requests["old"][1], requests["old"][0])  # it is used
    assert [entry.network for entry in cache.entries()] == ["old.onnx", "new.onnx", "older.onnx"]
    monkeypatch.setenv("TFINVERT_CACHE_GB", "0.000004")
    keep("newest", 4)
    assert {entry.network for entry in cache.entries()} >= {"newest.onnx", "old.onnx"}
    assert "older.onnx" not in {entry.network for entry in cache.entries()}


def test_a_new_entry_stays_also_where_it_is_too_large(monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE_GB", "0.000001")
    keep("large", 1, size=5000)
    assert [entry.network for entry in cache.entries()] == ["large.onnx"]


@pytest.mark.parametrize(("text", "largest"), [("", 10**10), ("many", 10**10), ("2", 2 * 10**9), ("inf", 10**10)])
def test_the_limit_is_ten_gigabytes_or_what_the_environment_says(text, largest, monkeypatch):
    monkeypatch.setenv("TFINVERT_CACHE_GB", text)
    assert cache.limit() == largest


def test_the_experiment_lists_and_empties_the_cache():
    keep("net", 1)
    listed = tfinvert.cache()
    assert [entry.network for entry in listed.entries] == ["net.onnx"]
    assert "net.onnx: conv1" in listed.summary()
    assert "1 converted networks" in listed.summary()
    emptied = tfinvert.cache(empty=True)
    assert (emptied.removed, emptied.entries) == (1, ())
    assert cache.entries() == []


def test_a_damaged_entry_is_listed_as_such():
    _, folder = keep("net", 1)
    (folder / cache.DESCRIPTION).write_text("{")
    assert cache.entries()[0].converter == ""
    assert "damaged" in tfinvert.cache().summary()
