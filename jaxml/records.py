"""Records: frozen dataclasses that are pytrees of their array fields."""

import dataclasses
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import jax

T = TypeVar("T", bound=type)


def static_field(**kwargs: Any) -> Any:
    """A dataclass field that is part of the structure, not an array: the number of classes, a most number of steps."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


@typing.overload
def record(cls: T, /) -> T: ...
@typing.overload
def record(*, kw_only: bool = False) -> Callable[[T], T]: ...
@typing.dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, static_field))
def record(cls: Any = None, /, *, kw_only: bool = False) -> Any:
    """Decorator: make a class a frozen dataclass and a JAX pytree, with :func:`static_field` fields as its structure.

    Not ``jax.tree_util.register_dataclass``: tree structures made by it compare equal for different classes with the same static
    fields (jax 0.10.2), and a cache that compares structures, as that of jit does, then now and then runs the program of one
    class for another.
    """
    make = lambda cls: _register(dataclasses.dataclass(frozen=True, kw_only=kw_only)(cls))
    return make if cls is None else make(cls)


def callable_pytree(function: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function as one that can cross jit as an argument, static by its identity; a record or a Partial as it is."""
    leaves = jax.tree.leaves(function)
    return jax.tree_util.Partial(function) if len(leaves) == 1 and leaves[0] is function else function


def _register(cls: Any) -> Any:
    names = [field.name for field in dataclasses.fields(cls) if not field.metadata.get("static")]
    static = [field.name for field in dataclasses.fields(cls) if field.metadata.get("static")]

    def flatten(self: Any) -> tuple[Any, Any]:
        return [getattr(self, name) for name in names], tuple(getattr(self, name) for name in static)

    def flatten_with_keys(self: Any) -> tuple[Any, Any]:
        leaves, structure = flatten(self)
        return list(zip(map(jax.tree_util.GetAttrKey, names), leaves, strict=True)), structure

    def unflatten(structure: Any, leaves: Any) -> Any:
        self = object.__new__(cls)  # (what a frozen dataclass does in its constructor takes several times as long)
        vars(self).update(zip(static, structure, strict=True))
        vars(self).update(zip(names, leaves, strict=True))
        return self

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
