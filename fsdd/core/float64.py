"""Functions that compute in float64 within programs of float32.

`jax.enable_x64` lets float64 in while a function is traced. But JAX traces again what it has traced already: `vmap`
replays a `scan`, a `jit` or a `cond` within it, and lowering replays some operations, outside of that context, where
float64 becomes float32 or dtypes no longer match. A function from here is therefore a single operation of JAX's, which
only the compiler looks into.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

_call = Primitive("in_float64")
_call.multiple_results = True


def in_float64(function: Callable[..., tuple[jax.Array, ...]]) -> Callable[..., tuple[jax.Array, ...]]:
    """Let a function of float32 arrays compute in float64.

    Its arguments reach it in float64, and its results leave in the type of the first argument. Differentiable as often
    as it is itself, in float64; a backward pass first repeats the forward pass, which XLA computes once where it finds
    both in one program.
    """

    @jax.custom_vjp
    def call(*arguments):
        return tuple(_call.bind(*arguments, function=function))

    def backward(arguments, bars):
        return in_float64(_PulledBack(function, len(arguments)))(*arguments, *bars)

    call.defvjp(lambda *arguments: (call(*arguments), arguments), backward)
    return call


@dataclasses.dataclass(frozen=True)
class _PulledBack:
    """The derivative of a function: its arguments, so many, and cotangents of its results to those of its arguments."""

    function: Callable
    count: int

    def __call__(self, *both):
        return jax.vjp(self.function, *both[: self.count])[1](both[self.count :])


@dataclasses.dataclass(frozen=True)
class _Mapped:
    """A function over axes of its arguments; equal to others of the same, so that JAX compiles it once."""

    function: Callable
    axes: tuple[int | None, ...]

    def __call__(self, *arguments):
        return jax.vmap(self.function, self.axes)(*arguments)


@functools.cache
def _alone(function: Callable) -> Callable:
    return jax.jit(functools.partial(_call.bind, function=function))


@_call.def_impl
def _run(*arguments, function):
    return _alone(function)(*arguments)


@_call.def_abstract_eval
def _shapes(*arguments, function):
    with jax.enable_x64(True):
        found = jax.eval_shape(function, *(jax.ShapeDtypeStruct(one.shape, jnp.float64) for one in arguments))
    return [jax.core.ShapedArray(one.shape, arguments[0].dtype) for one in found]


def _batch(arguments: Sequence, axes: Sequence[int | None], *, function: Callable) -> tuple[list, list[int]]:
    found = _call.bind(*arguments, function=_Mapped(function, tuple(axes)))
    return found, [0] * len(found)


def _lower(context, *arguments, function):
    def whole(*narrow):
        found = function(*(one.astype(jnp.float64) for one in narrow))
        return [one.astype(narrow[0].dtype) for one in found]

    with jax.enable_x64(True):
        return mlir.lower_fun(whole, multiple_results=True)(context, *arguments)


batching.primitive_batchers[_call] = _batch
mlir.register_lowering(_call, _lower)
