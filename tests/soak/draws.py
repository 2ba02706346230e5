"""Random draws that are bytes, so that a fuzzer can change them."""

import random


class Drawn(random.Random):
    """A generator whose draws are bytes that are given; when they are used up, it goes on from a seed that they make."""

    def __init__(self, data: bytes):
        self._data, self.used = data, 0
        super().__init__(data)

    def random(self) -> float:
        return self.getrandbits(16) / 2**16 if self.used < len(self._data) else super().random()

    def getrandbits(self, k: int) -> int:
        size = (k + 7) // 8
        if self.used >= len(self._data) or size > 8:  # noise has nothing to learn from
            return super().getrandbits(k)
        taken = self._data[self.used : self.used + size]
        self.used += size
        return int.from_bytes(taken, "little") & ((1 << k) - 1)


def changed(data: bytes, used: int, rng: random.Random) -> bytes:
    """Draws that differ in some of the first `used` bytes, those that a case was made of, or in all from one of them on."""
    other = bytearray(data)
    if rng.random() < 0.5:
        place = rng.randrange(used)
        other[place:] = rng.randbytes(len(data) - place)
    else:
        for _ in range(rng.choice((1, 1, 2, 4))):
            other[rng.randrange(used)] = rng.randrange(256)
    return bytes(other)
