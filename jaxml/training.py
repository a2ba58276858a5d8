r"""Training of any predictor with any family by minibatches: take a batch, forward, backpropagate the loss, update the weights.

    minimise  -(1/N) sum_i w_i log p(y_i; eta_i) + l2/2 ||weights||^2,    eta_i = eta(predictor(params, x_i) + offset_i),  N = sum_i w_i

It is the objective of :func:`jaxml.glm.fit`, on the same likelihood; what is new is that the predictor may be a network, a kernel
expansion, or any function, and that the minimum is approached rather than found. An epoch is one compiled scan over shuffled
minibatches; a whole run is one program on the device.

Source: notes 9.3, 9.4; Goodfellow, Bengio & Courville (2016), chapters 7 and 8.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxml import links
from jaxml.checks import check_family, read_rows, refuse_bad_values
from jaxml.families.base import Family
from jaxml.likelihood import row_loss
from jaxml.links import Link
from jaxml.optimize.first_order import SGD, Optax
from jaxml.optimize.implicit import opaque
from jaxml.optimize.minimize import prepared
from jaxml.optimize.stochastic import epoch
from jaxml.prediction import mean_log_likelihood, natural_from, predict_from, read_features
from jaxml.predictors.linear import Linear
from jaxml.records import callable_pytree, record, static_field
from jaxml.rows import Rows
from jaxml.status import Status

_NOT_DIFFERENTIABLE = (
    "a training that stops by its epochs is not differentiable; use a solver that converges, as glm.fit does"
)
_COORDINATE = {"real": "identity", "positive": "log", "unit": "logit"}


class History(NamedTuple):
    """By epoch, NaN past the last one: the mean objective over its minibatches, and the mean loss on the validation rows after it."""

    train: Array
    validation: Array | None


@record
class Trained:
    """A trained predictor.

    Attributes:
        params: of the epoch with the lowest validation loss; without validation rows, of the last one.
        predictor: as given.
        family: as given.
        link: static.
        status: STEP_LIMIT where the training ended as it was told to, for the minimum is not claimed; NON_FINITE where loss or params
            overflowed: params are then those of the last epoch (or the best one) before that.
        epochs: () int32, how many were run.
        best_epoch: () int32, the epoch that params come from, counted from 1; 0 for the start.
        stopped_early: (), whether the validation loss ended the training.
        history: :class:`History`.
        offset: static, whether the fit had an offset, which ``predict`` then asks for.

    Example:
        >>> import jax, optax
        >>> import jax.numpy as jnp
        >>> from jaxml import families, optimize, predictors, training
        >>> X = jnp.linspace(-1, 1, 64)[:, None]
        >>> net = predictors.MLP((16,), predictors.tanh)
        >>> solver = optimize.Optax(transform=optax.adam(0.02), epochs=200, batch_size=16)
        >>> start = net.init(jax.random.key(0), 1, families.Normal())
        >>> fit = training.train(families.Normal(), net, start, X, X[:, 0] ** 2, solver=solver, key=jax.random.key(1))
        >>> print(bool(fit.history.train[-1] < fit.history.train[0] / 10), int(fit.epochs))
        True 200
    """

    params: Any
    predictor: Any
    family: Family
    status: Array
    epochs: Array
    best_epoch: Array
    stopped_early: Array
    history: History
    link: Link = static_field()
    offset: bool = static_field(default=False)


def train(
    family: Family,
    predictor: Callable[..., Array],
    params: Any,
    X: Any,
    y: Any,
    *,
    key: Array,
    weights: Any = None,
    offset: Any = None,
    link: Any = None,
    l2: Any = 0.0,
    solver: SGD | Optax | None = None,
    validation: Any = None,
    patience: int | None = None,
    check: Any = "support",
) -> Trained:
    """Train a predictor.

    Args:
        family: the law of y.
        predictor: (params, X) -> (n,) or (n, k), as :class:`jaxml.predictors.MLP`; a record, or a plain function (made once: a fresh
            lambda compiles again). One with ``dropout`` is given a random key as well.
        params: starting point, a pytree.
        X: (n, d).
        y: as for :func:`jaxml.glm.fit`.
        key: random key of the shuffling, the dropout and the choice of validation rows; the same key gives the same answer.
        weights: (n,), not negative; a row of weight 0 is as good as absent, even where it holds NaN.
        offset: of the shape of the prediction.
        link: as for :func:`jaxml.glm.fit`, but None takes a link that no prediction can leave: identity, log or logit by where the
            mean lives, or the family's own map onto its domain.
        l2: penalty on the weights (of a Linear its weight, not its bias; of other params all).
        solver: SGD, or Optax with epochs; None: Adam at 1e-3, 20 epochs of batches of 128.
        validation: rows to judge by, (X, y) or (X, y, weights), or the share of the rows to set apart for it, in (0, 1).
        patience: stop after this many epochs without a lower validation loss; None: never.
        check: as for :func:`jaxml.glm.fit`.

    Returns:
        :class:`Trained`. It is not differentiable.

    Raises:
        ValueError, TypeError, OverflowError: bad input, naming argument, value and place (values only outside jit).

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxml import families, optimize, training
        >>> from jaxml.predictors import Linear, linear
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1.0, 3.0, 5.0, 7.0])
        >>> solver = optimize.SGD(learning_rate=0.1, epochs=200)
        >>> start = Linear(jnp.zeros(1), jnp.zeros(()))
        >>> fit = training.train(families.Normal(), linear, start, X, y, solver=solver, key=jax.random.key(0))
        >>> print(f"{fit.params.weight[0]:.2f} {fit.params.bias:.2f}")
        2.00 1.00

    Source: notes 9.3; Prechelt (1998), "Early stopping - but when?".
    """
    task = _task(family, predictor, link, l2, solver, X, y, weights, offset, check)
    patience = _patience(patience, validation, task.solver)
    rows, held = task.rows, None
    if isinstance(validation, float | np.floating):
        rows, held, key = _split(rows, validation, key)
    elif validation is not None:
        held = _read(task.family, *validation, check=check)
    params = _cast(params, rows.X.dtype)
    how = _run(replace(task, rows=rows), params, held, key, patience)
    return Trained(predictor=task.predictor, family=task.family, link=task.link, offset=offset is not None, **how)


def train_in_chunks(
    family: Family,
    predictor: Callable[..., Array],
    params: Any,
    chunks: Callable[[int], Iterable[Any]],
    *,
    key: Array,
    link: Any = None,
    l2: Any = 0.0,
    solver: SGD | Optax | None = None,
    validation: Any = None,
    patience: int | None = None,
    check: Any = "support",
) -> Trained:
    """Train a predictor on data larger than the memory of the device, which arrive in chunks.

    While the device works on one chunk, the next one is read and sent. Rows are shuffled within a chunk; with a single chunk the
    answer is that of :func:`train`.

    Args:
        family: as for :func:`train`, and so the others where nothing is said.
        predictor: see there.
        params: see there.
        chunks: epoch (from 0) -> the chunks of that epoch, (X, y) or (X, y, weights), all of the same number of rows, but for smaller
            ones, which are filled up with rows of weight 0 so that nothing compiles again.
        key: see there.
        link: see there.
        l2: see there.
        solver: see there.
        validation: (X, y) or (X, y, weights), which stay on the device; None: none.
        patience: see there.
        check: see there; each chunk is looked at once, in the first epoch.

    Returns:
        :class:`Trained`.

    Raises:
        ValueError: an epoch without chunks, or a chunk of more rows than the first; and as :func:`train`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxml import families, optimize, training
        >>> from jaxml.predictors import Linear, linear
        >>> X, y = jnp.array([[0.0], [1.0], [2.0], [3.0]]), jnp.array([1.0, 3.0, 5.0, 7.0])
        >>> halves = lambda epoch: [(X[:2], y[:2]), (X[2:], y[2:])]
        >>> start = Linear(jnp.zeros(1), jnp.zeros(()))
        >>> solver = optimize.SGD(learning_rate=0.1, epochs=200)
        >>> fit = training.train_in_chunks(families.Normal(), linear, start, halves, solver=solver, key=jax.random.key(0))
        >>> print(f"{fit.params.weight[0]:.2f} {fit.params.bias:.2f}")
        2.00 1.00

    Source: notes 9.3; Bottou, Curtis & Nocedal (2018), section 4.
    """
    solver = _solver(solver)
    patience = _patience(patience, validation, solver)
    held, task, size, state = None, None, 0, None
    for number in range(solver.epochs):
        look = check if number == 0 else False
        visit_key = jax.random.fold_in(key, number)
        tasks = (_task(family, predictor, link, l2, solver, *_three(c), None, look) for c in chunks(number))
        for i, piece in enumerate(_one_ahead(tasks)):
            if task is None:
                task, size = piece, piece.rows.n
                held = None if validation is None else _read(piece.family, *validation, check=check)
                state = _start(piece, _cast(params, piece.rows.X.dtype), held)
            chunk_key = visit_key if i == 0 else jax.random.fold_in(visit_key, i)
            state = _visit_chunk(replace(piece, rows=_filled(piece.rows, size)), state, chunk_key, i == 0)
        if task is None or size == 0:
            raise ValueError(f"chunks({number}) gave no chunk")
        state = _after_epoch(replace(task, rows=None), state, held, patience)
        if bool(state.done):
            break
    return Trained(predictor=task.predictor, family=task.family, link=task.link, **_outcome(state))


def predict_natural(fit: Trained, X: Any, *, offset: Any = None) -> Array:
    """The natural parameter eta(predictor(params, x) + offset) of each row. Nothing is dropped.

    Args:
        fit: a trained predictor.
        X: (n, d).
        offset: of the shape of the prediction; required if the fit had one, refused if not.

    Returns:
        (n,) or (n, k).

    Raises:
        ValueError: where the offset is missing or refused, or of another shape.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxml import families, predictors, training
        >>> net = predictors.MLP((8,))
        >>> X, y = jnp.array([[0.0], [1.0]]), jnp.array([0, 1])
        >>> start = net.init(jax.random.key(0), 1, families.Bernoulli())
        >>> fit = training.train(families.Bernoulli(), net, start, X, y, key=jax.random.key(1))
        >>> print(training.predict_natural(fit, X).shape)
        (2,)

    Source: notes 6.1, 9.1.
    """
    X = read_features(X, None, jax.tree.leaves(fit.params)[0].dtype)
    return natural_from(fit, fit.predictor(fit.params, X), offset)


def predict(fit: Trained, X: Any, *, offset: Any = None, trials: Any = None) -> Array:
    """E[Y] of each row; for Categorical the probabilities of the classes. Nothing is dropped.

    Args:
        fit: a trained predictor.
        X: (n, d).
        offset: as for :func:`predict_natural`.
        trials: () or (n,), for Binomial and Multinomial.

    Returns:
        (n,) or (n, k).

    Raises:
        ValueError: as :func:`predict_natural`; where the trials are missing.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxml import families, predictors, training
        >>> net = predictors.MLP((8,))
        >>> X, y = jnp.array([[0.0], [1.0]]), jnp.array([0, 1])
        >>> start = net.init(jax.random.key(0), 1, families.Categorical(3))
        >>> fit = training.train(families.Categorical(3), net, start, X, y, key=jax.random.key(1))
        >>> print(training.predict(fit, X).shape)
        (2, 3)

    Source: notes 6.2, 9.1.
    """
    X = read_features(X, None, jax.tree.leaves(fit.params)[0].dtype)
    return predict_from(fit, fit.predictor(fit.params, X), offset, trials)


def score(fit: Trained, X: Any, y: Any, *, weights: Any = None, offset: Any = None) -> Array:
    """Mean log-likelihood sum_i w_i log p(y_i; eta_i) / sum_i w_i, log b included; larger is better.

    Args:
        fit: a trained predictor.
        X: (n, d).
        y: as for :func:`train`.
        weights: (n,), not negative; a row of weight 0 counts in nothing.
        offset: as for :func:`predict_natural`.

    Returns:
        () score in nats, at dispersion 1 where it is unknown.

    Raises:
        ValueError, TypeError, OverflowError: as :func:`jaxml.glm.score`.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxml import families, predictors, training
        >>> X, y = jnp.array([[0.0], [1.0]]), jnp.array([0, 1])
        >>> net = predictors.MLP((8,))
        >>> start = net.init(jax.random.key(0), 1, families.Bernoulli())
        >>> fit = training.train(families.Bernoulli(), net, start, X, y, key=jax.random.key(1))
        >>> print(training.score(fit, X, y).shape)
        ()

    Source: Gneiting & Raftery (2007), "Strictly proper scoring rules, prediction, and estimation".
    """
    return mean_log_likelihood(fit, fit.family, fit.predictor, None, (X, y, weights, offset))


# -- one objective for both ------------------------------------------------------------------------------------------
@record
class _Task:
    """All that an epoch needs."""

    family: Family
    predictor: Any
    rows: Any
    l2: Any
    solver: Any
    link: Link = static_field()


class _State(NamedTuple):
    params: Any
    memory: Any
    best: Any
    best_loss: Array
    epochs: Array
    best_epoch: Array
    finite: Array
    done: Array
    stopped: Array
    loss: Array  # of the epoch that is running, and how many chunks it has seen
    chunks: Array
    history: History


def _task(
    family: Family,
    predictor: Any,
    link: Any,
    l2: Any,
    solver: Any,
    X: Any,
    y: Any,
    weights: Any,
    offset: Any,
    check: Any,
) -> _Task:
    check_family(family)
    if link is None:
        link = _COORDINATE[family.space] if family.space else family.default_link
    rows = _read(family, X, y, weights, offset, check=check)
    dtype = rows.X.dtype
    return _Task(
        _cast(family, dtype),
        callable_pytree(predictor),
        rows,
        jnp.asarray(l2, dtype),
        _solver(solver),
        links.resolve(family, link),
    )


def _read(family: Family, X: Any, y: Any, weights: Any = None, offset: Any = None, *, check: Any) -> Rows:
    rows = read_rows(family, X, y, weights, offset)
    if check:
        refuse_bad_values(family, rows, check)
    return rows


def _solver(solver: Any) -> Any:
    solver = prepared(_adam() if solver is None else solver)
    if getattr(solver, "epochs", None) is None:
        raise TypeError(f"training goes through the rows in epochs: use SGD, or Optax with epochs, not {solver!r}")
    return solver


def _patience(patience: int | None, validation: Any, solver: Any) -> int:
    if patience is None:
        return int(solver.epochs)
    if validation is None:
        raise ValueError("patience= asks for validation rows to judge by: give validation=")
    return patience


@cache
def _adam() -> Optax:
    import optax

    return Optax(transform=optax.adam(1e-3), epochs=20, batch_size=128)


def _objective(task: _Task, params: Any, rows: Rows, w: Array, key: Array | None) -> Array:
    """sum_i w_i L_i over rows, of which those of weight 0 hold finite numbers."""
    random = getattr(task.predictor, "dropout", 0) and key is not None
    z = task.predictor(params, rows.X, key) if random else task.predictor(params, rows.X)
    losses = row_loss(task.family, task.link, z if rows.offset is None else z + rows.offset, rows.y)
    return jnp.sum(jnp.where(w > 0, w * losses, 0))


def _visit(task: _Task) -> Any:
    """One epoch over the rows of the task."""
    rows = task.rows.safe()
    w = rows.mass
    total = jnp.sum(w * task.family.trials(rows.y))
    rows = rows._replace(weights=w)

    def batch(params: Any, index: Array, keep: Array, key: Array) -> tuple[Array, Any]:
        def mean(params: Any) -> Array:
            few = rows.take(index)
            share = rows.n / jnp.sum(keep) / total
            return share * _objective(task, params, few, jnp.where(keep, few.weights, 0), key) + _penalty(
                task.l2, params
            )

        return jax.value_and_grad(mean)(params)

    return epoch(batch, task.solver.transform, n=rows.n, batch_size=task.solver.batch_size)


def _penalty(l2: Array, params: Any) -> Array:
    is_layer = lambda a: isinstance(a, Linear)
    weights = [a.weight if is_layer(a) else a for a in jax.tree.leaves(params, is_leaf=is_layer)]
    return l2 / 2 * sum(jnp.sum(jnp.square(w)) for w in weights)


def _mean_loss(task: _Task, params: Any, rows: Rows) -> Array:
    rows = rows.safe()
    w = rows.mass
    return _objective(task, params, rows, w, None) / jnp.sum(w * task.family.trials(rows.y))


# -- the loop over epochs --------------------------------------------------------------------------------------------
@jax.jit
def _run(task: _Task, params: Any, held: Rows | None, key: Array, patience: Any) -> Any:
    given = task, params, held
    task, params, held = lax.stop_gradient(given)
    visit = _visit(task)

    def trip(state: _State) -> _State:
        carry, (loss, _) = visit((state.params, state.memory), jax.random.fold_in(key, state.epochs))
        state = state._replace(params=carry[0], memory=carry[1], loss=loss, chunks=jnp.ones_like(state.chunks))
        return _after_epoch(task, state, held, patience)

    return opaque(
        _NOT_DIFFERENTIABLE, _outcome(lax.while_loop(lambda s: ~s.done, trip, _start(task, params, held))), given
    )


@jax.jit
def _visit_chunk(task: _Task, state: _State, key: Array, first: Any) -> _State:
    carry, (loss, _) = _visit(task)((state.params, state.memory), key)
    before = jnp.where(first, 0, 1)
    loss, chunks = before * state.loss + loss, before * state.chunks + 1
    return state._replace(params=carry[0], memory=carry[1], loss=loss, chunks=chunks)


@jax.jit
def _start(task: _Task, params: Any, held: Rows | None) -> _State:
    leaf = jax.tree.leaves(params)[0]
    nan, inf, zero = jnp.full(task.solver.epochs, jnp.nan, leaf.dtype), jnp.asarray(jnp.inf, leaf.dtype), jnp.int32(0)
    no, yes = jnp.asarray(False), jnp.asarray(True)
    history = History(nan, None if held is None else nan)
    memory = task.solver.transform.init(params)
    return _State(params, memory, params, inf, zero, zero, yes, no, no, jnp.zeros_like(inf), zero, history)


@jax.jit
def _after_epoch(task: _Task, s: _State, held: Rows | None, patience: Any) -> _State:
    """Keep the params if they are the best so far, write the history, and decide whether to go on."""
    train, i = s.loss / s.chunks, s.epochs
    judged = train if held is None else _mean_loss(task, s.params, held)
    whole = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(s.params)]
    finite = jnp.isfinite(train) & jnp.isfinite(judged) & jnp.all(jnp.stack(whole))
    better = finite & ((held is None) | (judged < s.best_loss))
    best_epoch = jnp.where(better, i + 1, s.best_epoch)
    stopped = (held is not None) & (i + 1 - best_epoch >= patience) & (i + 1 < task.solver.epochs) & finite
    return s._replace(
        best=jax.tree.map(lambda new, old: jnp.where(better, new, old), s.params, s.best),
        best_loss=jnp.where(better, judged, s.best_loss),
        epochs=i + 1,
        best_epoch=best_epoch,
        finite=finite,
        done=~finite | stopped | (i + 1 >= task.solver.epochs),
        stopped=stopped,
        history=History(
            s.history.train.at[i].set(train), None if held is None else s.history.validation.at[i].set(judged)
        ),
    )


@jax.jit
def _outcome(s: _State) -> Any:
    status = jnp.where(s.finite, int(Status.STEP_LIMIT), int(Status.NON_FINITE)).astype(jnp.int32)
    return {
        "params": s.best,
        "status": status,
        "epochs": s.epochs,
        "best_epoch": s.best_epoch,
        "stopped_early": s.stopped,
        "history": s.history,
    }


# -- rows ------------------------------------------------------------------------------------------------------------
def _split(rows: Rows, share: Any, key: Array) -> tuple[Rows, Rows, Array]:
    held = round(rows.n * share)
    if not 0 < held < rows.n:
        raise ValueError(f"validation={share} of {rows.n} rows leaves none on one side; give a share between 0 and 1")
    key, split_key = jax.random.split(key)
    order = jax.random.permutation(split_key, rows.n)
    return rows.take(order[held:]), rows.take(order[:held]), key


def _cast(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), tree)


def _three(chunk: Any) -> tuple[Any, Any, Any]:
    if not isinstance(chunk, tuple | list) or len(chunk) not in (2, 3):
        raise ValueError("a chunk is (X, y) or (X, y, weights)")
    X, y, *rest = chunk
    return X, y, rest[0] if rest else None


def _filled(rows: Rows, size: int) -> Rows:
    """With weights, and with copies of the first row, of weight 0, up to the size."""
    extra = size - rows.n
    if extra < 0:
        raise ValueError(f"a chunk has {rows.n} rows, more than the first one, which has {size}")
    rows = rows._replace(weights=rows.mass)
    if not extra:
        return rows
    more = rows.take(jnp.zeros(extra, int))._replace(weights=jnp.zeros(extra, rows.X.dtype))
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), rows, more)


def _one_ahead(items: Iterable[Any]) -> Iterator[Any]:
    """The same items, each of which is asked for, and so sent to the device, before the one before it is handed on."""
    waiting: list[Any] = []
    for item in items:
        waiting.append(item)
        if len(waiting) == 2:
            yield waiting.pop(0)
    yield from waiting
