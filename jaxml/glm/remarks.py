"""What a fit has to say beyond its status, in words: which row lies on the edge, and where a link function runs out of digits."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxml import links
from jaxml.glm.result import Fit
from jaxml.predictors import linear
from jaxml.rows import Rows
from jaxml.status import Status


def remarks(fit: Fit, rows: Rows) -> list[str]:
    """Sentences to add to the warning of a fit, on the host; empty where there is nothing to say."""
    on = np.asarray(rows.on)
    z = np.asarray(linear(fit.params, rows.X) + (0 if rows.offset is None else rows.offset))
    said = [_edge(fit, z, on) if fit.status == Status.BOUNDARY else "", _saturation(fit, z, on)]
    return [sentence for sentence in said if sentence]


def _edge(fit: Fit, z: Any, on: Any) -> str:
    if fit.family.natural_size is not None:
        return ""
    low, high = links.domain(fit.family, fit.link)
    if math.isinf(low) and math.isinf(high):
        return ""
    room = np.where(on, np.minimum(z - low, high - z), np.inf)
    i = int(np.argmin(room))
    return f"Row {i} is on the edge: its linear predictor is {z[i]:.6g}, in a domain of ({low:g}, {high:g})."


def _saturation(fit: Fit, z: Any, on: Any) -> str:
    """Through the mean a link keeps no digits of log m or logit m where m is next to 1, 0 or infinity in floating point."""
    space = fit.family.space
    if fit.link.known or space not in ("unit", "positive"):
        return ""
    mean = np.asarray(fit.link.inverse(jnp.asarray(z)))
    info = np.finfo(mean.dtype)
    lost = ~np.isfinite(mean) | (mean < info.tiny)
    if space == "unit":
        lost |= 1 - mean < np.sqrt(info.eps)
    count = int(np.sum(lost & on))
    if not count:
        return ""
    i = int(np.argmax(lost & on))
    return (
        f"The link {fit.link.name!r} goes through the mean, which saturates in {count} row{'s' * (count > 1)} (the first is row"
        f" {i}, z = {z[i]:.6g}, mean {mean[i]:.6g}), so half or more of the digits are lost there. A Link record with the"
        " coordinate of the mean (positive= or unit=), or a named link, keeps them."
    )
