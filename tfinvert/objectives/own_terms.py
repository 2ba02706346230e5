"""The terms of a user: plain functions get a name and their layers, and every term is checked before anything is optimized."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfinvert.objectives.terms import Term
from tfinvert.system.errors import InputError, choice_error, last_line, shown
from tfinvert.system.tensorflow import autographed

LOGGED = (
    "step",
    "loss",
    "learning_rate",
    "psnr",
    "scale",
)  # beside the terms in a line of metrics, so that no term has the name


def as_terms(terms: Any, shapes: Mapping[str, Sequence[int]], image_shape: Sequence[int]) -> list[Term]:
    """The terms of a list that may hold terms, plain functions (image, features) -> [batch], and lists of both.

    Args:
      terms: the list, or a single term or function. Names that are taken get a number: `tv`, `tv_2`.
      shapes: layer name -> shape of its features without the batch.
      image_shape: (batch, H, W, 3).

    Raises:
      InputError: there are none, or `as_term` refuses one.

    Example:
      >>> def contrast(image, features):
      ...     return tf.math.reduce_std(features["fc"], axis=1)
      >>> [(term.name, term.layers) for term in as_terms([contrast, [contrast]], {"fc": (10,)}, (1, 8, 8, 3))]
      [('contrast', ('fc',)), ('contrast_2', ('fc',))]
    """
    taken, checked = set(LOGGED), []
    for term in _flattened(terms):
        made = as_term(term, shapes, image_shape)
        checked.append(dataclasses.replace(made, name=_unique(made.name, taken)))
        taken.add(checked[-1].name)
    if not checked:
        raise InputError("there are no terms; expected at least one, such as terms.match(features)")
    return checked


def as_term(term: Term | Callable[..., tf.Tensor], shapes: Mapping[str, Sequence[int]], image_shape: Sequence[int]) -> Term:
    """A function (image, features) -> [batch] as a term of weight 1 named like it, or a term; with the layers that it reads.

    It is called once, with symbols in place of image and features: nothing is computed.

    Args:
      term: the function or term.
      shapes: layer name -> shape of its features without the batch.
      image_shape: (batch, H, W, 3).

    Raises:
      InputError: it is no function, reads a layer that is not there, fails, or gives something else than a float32 tensor of
        the shape [batch]. The message names the term.
    """
    if not isinstance(term, Term):
        if not callable(term):
            raise InputError(f"the term {shown(term)} is neither a Term nor a function; expected (image, features) -> [batch]")
        name = getattr(term, "__name__", type(term).__name__)
        term = Term(name if name.isidentifier() else "term", 1.0, term)
    batch = image_shape[0]
    layers = {name: tf.TensorSpec((batch, *shape), tf.float32) for name, shape in shapes.items()}
    read, result = _symbolic_call(term, tf.TensorSpec(tuple(image_shape), tf.float32), layers)
    if not tf.is_tensor(result):
        raise InputError(f"term {term.name!r} gives {shown(result)}; expected a tensor of one number per image, [{batch}]")
    if result.dtype != tf.float32 or result.shape != (batch,):
        raise InputError(
            f"term {term.name!r} gives {result.dtype.name} {list(result.shape)}; expected float32 [{batch}], one number per "
            "image: reduce over all axes but the first"
        )
    return dataclasses.replace(
        term,
        weight=autographed(term.weight) if callable(term.weight) else term.weight,
        value=autographed(term.value),
        layers=tuple(name for name in shapes if name in read),
    )


def batch_size(terms: Any) -> int:
    """The number of images that terms of `match` have targets for; 1 where they share one."""
    targets = [getattr(term, "target", None) for term in _flattened(terms)]
    return max((target.shape[0] for target in targets if target is not None), default=1)


def layers_of(terms: Any) -> set[str]:
    """The layers that terms name, without those that plain functions read."""
    return {layer for term in _flattened(terms) if isinstance(term, Term) for layer in term.layers}


class _Recorder(Mapping[str, tf.Tensor]):
    """Features by layer name that remember which layers were read, and which is missing."""

    def __init__(self, features: Mapping[str, tf.Tensor]):
        self.features = features
        self.read: set[str] = set()
        self.missing: str | None = None

    def __getitem__(self, name: str) -> tf.Tensor:
        if name not in self.features:
            self.missing = name
            raise KeyError(name)
        self.read.add(name)
        return self.features[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)


def _symbolic_call(term: Term, image: tf.TensorSpec, layers: Mapping[str, tf.TensorSpec]) -> tuple[set[str], Any]:
    """The layers that a term reads, and its result. The result is symbolic: it has a type and a shape, but no values."""
    recorders, results = [], []

    def call(image: tf.Tensor, features: dict[str, tf.Tensor]) -> None:
        recorders.append(_Recorder(features))
        results.append(term.value(image, recorders[0]))

    try:
        own = autographed(term.value) is term.value
        tf.function(call, autograph=not own).get_concrete_function(image, dict(layers))
    except Exception as error:  # whatever a user's function raises
        if recorders and recorders[0].missing is not None:
            raise choice_error(f"layer in term {term.name!r}:", recorders[0].missing, layers) from None
        raise InputError(f"term {term.name!r} cannot be computed: {last_line(error)}") from error
    return recorders[0].read, results[0]


def _flattened(terms: Any) -> Iterable[Any]:
    if not isinstance(terms, list | tuple):
        return [terms]
    return [term for part in terms for term in _flattened(part)]


def _unique(name: str, taken: set[str]) -> str:
    numbered = (f"{name}_{number}" for number in range(2, len(taken) + 3))
    return name if name not in taken else next(other for other in numbered if other not in taken)
