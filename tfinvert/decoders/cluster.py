"""The processes and devices that train together, and the part of each batch that falls to this process."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

import numpy as np

from tfinvert.system.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of each batch that this worker trains on.

    Attributes:
      index: number of this worker, from 0.
      count: number of workers.
    """

    index: int = 0
    count: int = 1

    @staticmethod
    def from_environment() -> Share:
        """The share that TF_CONFIG, TensorFlow's variable for several processes, gives this worker; all without TF_CONFIG.

        Raises:
          InputError: TF_CONFIG cannot be read, or names other processes than workers.
        """
        text = os.environ.get("TF_CONFIG")
        if not text:
            return Share()
        try:
            config = json.loads(text)
            workers, task = config["cluster"]["worker"], config["task"]
            if list(config["cluster"]) != ["worker"] or task["type"] != "worker" or not 0 <= task["index"] < len(workers):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"TF_CONFIG is {text[:200]!r}; expected a cluster of workers alone and this worker's task, such as "
                '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
            ) from None
        return Share(task["index"], len(workers))

    @property
    def is_chief(self) -> bool:
        """Whether this is the first worker, which writes the run directory."""
        return self.index == 0

    def draw_numbers(self, first_step: int, last_step: int, batch_size: int) -> np.ndarray:
        """The numbers of this worker's draws (`ImageSet.draw`) in steps `first_step` to `last_step` - 1, in order."""
        own = batch_size // self.count
        start = np.arange(first_step, last_step)[:, None] * batch_size + self.index * own
        return (start + np.arange(own)).ravel()


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Who trains.

    Attributes:
      strategy: TensorFlow's way to keep the devices in step.
      share: this worker's part of each batch.
    """

    strategy: tf.distribute.Strategy
    share: Share

    def replica_batch(self, batch_size: int) -> int:
        """The number of images that each replica takes of a batch.

        Raises:
          InputError: the batch cannot be divided evenly.
        """
        replicas = self.strategy.num_replicas_in_sync
        if batch_size % replicas:
            raise InputError(f"--batch_size is {batch_size}; expected a multiple of the {replicas} devices that share it")
        return batch_size // replicas


def join_cluster() -> Cluster:
    """Several machines where TF_CONFIG names them, several GPUs where this machine has them, else one device.

    It has to come before anything runs on a device.

    Raises:
      InputError: TF_CONFIG cannot be read, or names other processes than workers.
    """
    import tensorflow as tf

    share = Share.from_environment()
    if share.count > 1:
        return Cluster(tf.distribute.MultiWorkerMirroredStrategy(), share)
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return Cluster(tf.distribute.MirroredStrategy(), share)
    return Cluster(tf.distribute.get_strategy(), share)
