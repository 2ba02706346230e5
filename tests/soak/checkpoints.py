"""Damaged checkpoints, cache entries and decoders: never read as what they are not, made again where we made them."""

import dataclasses
import io
import json
import logging
import os
import random
import shutil
import zipfile
from pathlib import Path

import numpy as np

from tests.soak import Row, hostile
from tfinvert.system.errors import InputError

CASES = 2000
LIMITED = False  # TensorFlow reserves more addresses than it ever uses; what it uses is measured
STATE: dict = {}


def soak(scale: float = 1.0) -> list[Row]:
    """Each kind of file, damaged: a checkpoint, a converted network, a checksum, features, a decoder."""
    tally = hostile.tried("checkpoints", round(CASES * scale))
    return [tally.row("A damaged checkpoint, cache entry or decoder is made again, passed over or refused")]


def prepare() -> None:
    """Makes one whole of each kind, before cases are watched."""
    import keras
    import tensorflow as tf

    from tests.conftest import tiny_graph, write_onnx
    from tfinvert.decoders.encoder import Encoder
    from tfinvert.decoders.export import export_onnx
    from tfinvert.decoders.files import save_decoder
    from tfinvert.decoders.model import build_decoder
    from tfinvert.images import parameterizations
    from tfinvert.networks.conversion.process import Conversion
    from tfinvert.networks.conversion.request import request as make_request
    from tfinvert.objectives import terms
    from tfinvert.optimization.solver import Solver
    from tfinvert.optimization.state import Problem, init

    logging.getLogger("tfinvert").setLevel(logging.ERROR)
    folder = Path(os.environ["TFINVERT_CACHE"])
    folder.mkdir(parents=True, exist_ok=True)
    network = write_onnx(tiny_graph(), folder / "tiny.onnx")
    request = make_request(
        model="alexnet", onnx=str(network), weights="auto", layers=("conv1_1",), size=None, pool="max", preprocessing="none"
    )
    with Conversion(request) as conversion:
        STATE["converted"] = conversion.result()
    STATE["request"], STATE["network"] = request, network
    STATE["entry"] = _files(STATE["converted"].folder)

    image = keras.Input((8, 8, 3))
    model = keras.Model(image, {"a": keras.layers.AveragePooling2D(2)(image)})
    target = tf.zeros((1, 4, 4, 3))

    def solver() -> Solver:
        parameterization = parameterizations.parameterization("free", (8, 8), 0)
        problem = Problem(model, tuple(terms.match({"a": target}, loss="mse")), parameterization, keras.optimizers.Adam)
        return Solver([problem], [init(problem, np.full((1, 8, 8, 3), 0.5, np.float32))])

    STATE["solver"] = solver
    encoder = Encoder("a", "a", (4, 4, 2), (8, 8), "alexnet", None, "0" * 64, "pretrained", "max", "torch")
    decoder = build_decoder((4, 4, 2), (8, 8), width=1)
    save_decoder(decoder, encoder, folder / "decoder.keras")
    export_onnx(decoder, encoder, folder / "decoder.onnx")
    STATE["encoder"] = encoder
    STATE["decoders"] = {name: (folder / name).read_bytes() for name in ("decoder.keras", "decoder.onnx")}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _put(folder: Path, files: dict[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def _damaged(rng: random.Random, data: bytes) -> bytes:
    kind = rng.randrange(7)
    if kind == 0 or not data:
        return rng.choice((b"", b"\0" * len(data), rng.randbytes(len(data) + 1), b"{}", b"null", b"[" * 10**5))
    if kind == 1:
        return data[: rng.randrange(len(data))]
    if kind == 2:
        return data + rng.randbytes(rng.choice((1, 1000)))
    if kind == 3:
        start, end = sorted(rng.randrange(len(data)) for _ in range(2))
        return data[:start] + bytes(end - start) + data[end:]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        place = rng.randrange(len(changed))
        changed[place] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _damage(rng: random.Random, folder: Path) -> None:
    """One or two files of a folder are damaged, gone, each other's, or links; or there is one more."""
    for _ in range(rng.choice((1, 1, 2))):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        if not files:
            return
        path = rng.choice(files)
        kind = rng.randrange(8)
        if kind < 5:
            path.write_bytes(_damaged(rng, path.read_bytes()))
        elif kind == 5:
            path.unlink()
        elif kind == 6:
            path.write_bytes(rng.choice(files).read_bytes())
        else:
            path.with_name(rng.choice(("saved_model.pbtxt", "ckpt-9.index", "x", "fingerprint.pb"))).write_bytes(
                path.read_bytes()
            )


def _converted(rng: random.Random, folder: Path) -> str:
    """A cache entry is used as it was written, or not at all."""
    from tfinvert.networks.conversion.cache import read_entry

    entry = folder / "entry"
    _put(entry, STATE["entry"])
    _damage(rng, entry)
    found = read_entry(entry, STATE["request"])
    if found is None:
        return "made again"
    assert _files(entry) == STATE["entry"]
    assert dataclasses.replace(found, folder=STATE["converted"].folder) == STATE["converted"]
    return "as it was"


def _checksum(rng: random.Random, folder: Path) -> str:
    """A remembered checksum is right, or made again."""
    from tfinvert.system.cache import cache_folder, remembered_sha256

    memos = sorted((cache_folder() / "checksums").iterdir())
    _damage(rng, memos[0].parent)
    assert remembered_sha256(STATE["network"]) == STATE["request"].sha256
    return "made again"


def _features(rng: random.Random, folder: Path) -> str:
    """Features from the cache are those of the images."""
    import tensorflow as tf

    from tfinvert.decoders.feature_cache import cached_features
    from tfinvert.decoders.image_set import ImageSet
    from tfinvert.images import files as images
    from tfinvert.system.cache import cache_folder

    if "images" not in STATE:
        for n in range(3):
            images.save(folder / f"p{n}.png", np.random.default_rng(n).random((16, 16, 3)))
        STATE["images"] = ImageSet([folder / f"p{n}.png" for n in range(3)], (8, 8))

    def encode(batch: tf.Tensor) -> tf.Tensor:
        return tf.nn.avg_pool2d(batch, 2, 2, "VALID")[..., :2]

    found = cached_features(STATE["encoder"], encode, STATE["images"])
    STATE.setdefault("features", np.array(found))
    del found
    _damage(rng, cache_folder() / "features")
    again = cached_features(STATE["encoder"], encode, STATE["images"])
    np.testing.assert_array_equal(np.array(again), STATE["features"])
    return "made again"


def _checkpoint(rng: random.Random, folder: Path) -> str:
    """A run that is resumed from damaged checkpoints goes on from a whole one, starts again, or is refused."""
    from tfinvert.optimization.state import current_image
    from tfinvert.runs.directory import RunDirectory
    from tfinvert.runs.recording import Recording, record

    run = RunDirectory(folder / "run")
    if "run" not in STATE:
        shutil.rmtree(run.path, ignore_errors=True)
        run.create("--steps=4\n", {}, resume=False)
        record(STATE["solver"](), [Recording(run)], 2, 1)
        first = _files(run.checkpoints)
        record(STATE["solver"](), [Recording(run)], 4, 1, resume=True)
        STATE["run"] = {**_files(run.path), **{f"checkpoints/{n}": d for n, d in first.items() if n != "checkpoint"}}
        STATE["going on"] = STATE["solver"]()
    _put(run.path, STATE["run"])
    if rng.random() < 0.3:
        elsewhere = folder.parent / "elsewhere" / "ckpt-1"
        state = rng.choice(
            (
                f'model_checkpoint_path: "{elsewhere}"\nall_model_checkpoint_paths: "{elsewhere}"\n' * 4,
                'model_checkpoint_path: "../../x"\n',
                'model_checkpoint_path: "/dev/zero"\n',
                'model_checkpoint_path: "ckpt-4"\n' + f'all_model_checkpoint_paths: "{elsewhere}"\n' * 5,
                'model_checkpoint_path: "\\377\\376"\n',
            )
        )
        (run.checkpoints / "checkpoint").write_text(state)
    else:
        _damage(rng, run.checkpoints)
    run.create("--steps=4\n", {}, resume=True)
    solver = STATE["going on"]
    record(solver, [Recording(run)], 4, 1, resume=True)
    assert solver.step == 4
    assert np.isfinite(current_image(solver.problems[0], solver.states[0])).all()
    return "resumed"


def _decoder(rng: random.Random, folder: Path) -> str:
    """A decoder's file decodes, or is refused."""
    from tfinvert.decoders.files import encoder_of, load_decoder

    name = rng.choice(tuple(STATE["decoders"]))
    data = STATE["decoders"][name]
    if name.endswith(".keras") and rng.random() < 0.7:  # damage that zip's checksums do not see
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = {one: archive.read(one) for one in archive.namelist()}
        one = rng.choice((*files, "model.weights.h5"))
        files[one] = _damaged(rng, files[one])
        if one.endswith(".json") and rng.random() < 0.5:
            words = (("Conv2D", "Lambda"), ("keras.layers", "os"), ("4", "-1"), ("2", "99999999"), ("null", "{}"), ("8", '"x"'))
            old, new = rng.choice(words)
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                files[one] = archive.read(one).replace(old.encode(), new.encode(), rng.choice((1, 3, -1)))
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for inside, content in files.items():
                archive.writestr(inside, content)
        data = out.getvalue()
    else:
        data = _damaged(rng, data)
    (folder / name).write_bytes(data)
    encoder = encoder_of(str(folder / name))
    json.dumps(dataclasses.asdict(encoder))
    encoder.refuse_other(dataclasses.asdict(STATE["encoder"]), name)
    found = load_decoder(str(folder / name))(np.ones((1, 4, 4, 2), np.float32))
    assert found.shape[0] == 1
    return "decoded"


def case(rng: random.Random, folder: Path) -> str:
    """One damaged file or folder."""
    kind = rng.choice((_checkpoint, _checkpoint, _checkpoint, _converted, _checksum, _features, _decoder, _decoder))
    name = kind.__name__[1:]
    try:
        return f"{name} {kind(rng, folder)}"
    except InputError:
        return f"{name} refused"
