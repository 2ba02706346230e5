"""Who trains together, and on which part of a batch."""

import json

import numpy as np
import pytest

from tfinvert.decoders.cluster import Cluster, Share, join_cluster
from tfinvert.system.errors import InputError


def test_workers_share_each_batch():
    both = [Share(index, 2).draw_numbers(3, 6, 4).reshape(3, 2) for index in range(2)]
    np.testing.assert_array_equal(np.concatenate(both, axis=1), np.arange(12, 24).reshape(3, 4))
    np.testing.assert_array_equal(Share().draw_numbers(0, 2, 3), np.arange(6))


def test_a_batch_that_cannot_be_shared_evenly():
    class Three:
        num_replicas_in_sync = 3

    assert Cluster(Three(), Share()).replica_batch(15) == 5
    with pytest.raises(InputError, match="multiple of the 3 devices"):
        Cluster(Three(), Share()).replica_batch(16)


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"cluster": {"worker": ["a:1"]}}', json.dumps({"cluster": {"ps": ["a:1"]}, "task": {}})],
)
def test_a_cluster_that_cannot_be_read(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match="TF_CONFIG is"):
        join_cluster()


def test_a_worker_knows_its_place(monkeypatch):
    task = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    assert Share.from_environment() == Share(1, 2)
    assert not Share(1, 2).is_chief
    monkeypatch.delenv("TF_CONFIG")
    assert Share.from_environment() == Share()
    assert Share().is_chief


def test_a_cluster_of_one_worker_is_none(monkeypatch):
    task = {"cluster": {"worker": ["localhost:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(task))
    cluster = join_cluster()
    assert cluster.share == Share(0, 1)
    assert cluster.replica_batch(5) == 5
