"""Decodes images into the parts they are made of.

The wanted combination c minimises |image - compose(c)|^2 over all pixels and channels, which is
the most likely one under white noise. Tens of millions of combinations are too many to try, but
with four layers fixed the cost of every part of the fifth is a few matrix products: a part changes
the cost only where it covers and nothing above hides it. So the search is coordinate descent, one
layer at a time until nothing changes, from several starts; the best end wins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skipstream_data.nouns import HEAD, LAYERS, SIZE, Combinations, Parts, Pictures

_PIXELS = SIZE * SIZE
_CHANNELS = 3
_GLASSES = LAYERS.index("glasses")
_ACCESSORY = LAYERS.index("accessory")
# Starts of a search: (rank of the head, rank of an accessory under it), 0 the best. The accessories
# are for pairs of body and accessory that only change together.
_STARTS = ((0, 0), (1, 0), (0, 1), (0, 2))
_MAX_ROUNDS = 12
# Sum of squared errors (of 1024 pixels, values 0 to 1) that rounding to 8 bits can leave.
_EXPLAINED = _PIXELS * _CHANNELS * (0.5 / 255) ** 2
# Images per block: what bounds the memory.
_BLOCK = 256

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Decoded:
    """Results of `Decoder.decode` for N images."""

    combinations: Combinations  # [N, 5]
    pictures: Pictures  # [N, 32, 32, 3], the combinations composed
    visible: NDArray[np.int64]  # [N, 32, 32], index of the layer that is seen at each pixel


class Decoder:
    """Holds the parts in the form the search needs (10 MB). Safe to share between threads."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._covers = [cover.reshape(-1, _PIXELS) for cover in parts.covers]
        self._cover_values = [cover.astype(np.float32) for cover in self._covers]
        # Colours in [0, 1] (float32 sums stay exact to 1e-5 of an image), 0 where nothing is
        # covered.
        self._colors = [
            _channels_first(color) * cover[:, None]
            for color, cover in zip(parts.colors, self._cover_values, strict=True)
        ]
        self._flat_colors = [color.reshape(len(color), -1) for color in self._colors]
        self._palettes = [
            _palette(color, cover)
            for color, cover in zip(self._colors[:-1], self._covers[:-1], strict=True)
        ]
        self._squares = [_sum_channels(np.square(color)) for color in self._colors]

    def decode(self, pictures: Pictures) -> Decoded:
        """Images [N, 32, 32, 3] in RGB. The same images always give the same combinations."""
        if pictures.shape[1:] != (SIZE, SIZE, _CHANNELS) or pictures.dtype != np.uint8:
            raise ValueError(f"pictures must be uint8 [N, {SIZE}, {SIZE}, 3], not {pictures.shape}")
        blocks = [
            self._decode_block(pictures[start : start + _BLOCK])
            for start in range(0, len(pictures), _BLOCK)
        ]
        if not blocks:
            blocks = [np.empty((0, len(LAYERS)), np.int64)]
        combinations = np.concatenate(blocks)
        visible = self._visible(combinations).reshape(-1, SIZE, SIZE)
        return Decoded(combinations, self._parts.compose(combinations), visible)

    def _decode_block(self, pictures: Pictures) -> Combinations:
        values = _channels_first(pictures)
        best = np.zeros((len(pictures), len(LAYERS)), np.int64)
        best_costs = np.full(len(pictures), np.inf, np.float32)
        for start in self._starts(values):
            # An image that is explained to the rounding of its pixels needs no other start.
            open_ = np.flatnonzero(best_costs > _EXPLAINED)
            if not len(open_):
                break
            found = self._descend(values[open_], start[open_])
            costs = self._costs(values[open_], found)
            better = costs < best_costs[open_]
            best[open_[better]] = found[better]
            best_costs[open_[better]] = costs[better]
        return best

    def _starts(self, values: Floats) -> Iterator[Combinations]:
        """The glasses that fit best, then the best heads and accessories.

        Below a layer that has no neighbours yet, the cheapest lower part of each pixel stands in:
        a bound that the right combination reaches.
        """
        count = len(values)
        stand_in = self._cheapest(values)
        start = np.zeros((count, len(LAYERS)), np.int64)
        free = np.ones((count, _PIXELS), np.bool_)
        glasses = self._layer_costs(values, _GLASSES, free, stand_in[_GLASSES])
        start[:, _GLASSES] = glasses.argmin(axis=1)
        free &= ~self._covers[_GLASSES][start[:, _GLASSES]]
        heads = self._layer_costs(values, HEAD, free, stand_in[HEAD])
        order = np.argsort(heads, axis=1, kind="stable")
        for head_rank, accessory_rank in _STARTS:
            one = start.copy()
            one[:, HEAD] = order[:, head_rank]
            below = free & ~self._covers[HEAD][one[:, HEAD]]
            accessories = self._layer_costs(values, _ACCESSORY, below, stand_in[_ACCESSORY])
            ranked = np.argsort(accessories, axis=1, kind="stable")
            one[:, _ACCESSORY] = ranked[:, accessory_rank]
            yield one

    def _cheapest(self, values: Floats) -> list[Floats]:
        """Per layer [N, pixels]: the cost of the best part anywhere below it, pixel by pixel."""
        shape = (len(values), _PIXELS)
        cheapest = [np.zeros(shape, np.float32)]
        lowest = np.full(shape, np.inf, np.float32)
        for palette in self._palettes:
            for color, pixels in palette:
                cost = _sum_channels(np.square(values[:, :, pixels] - color[:, None]))
                lowest[:, pixels] = np.minimum(lowest[:, pixels], cost)
            cheapest.append(lowest.copy())
        return cheapest

    def _descend(self, values: Floats, combinations: Combinations) -> Combinations:
        found = combinations.copy()
        active = np.arange(len(values))
        for _ in range(_MAX_ROUNDS):
            before = found[active].copy()
            # From the bottom: the starts say most about the top.
            for layer in range(len(LAYERS)):
                hidden = self._hidden(found[active], layer)
                below = self._below(values[active], found[active], layer)
                costs = self._layer_costs(values[active], layer, ~hidden, below)
                found[active, layer] = costs.argmin(axis=1)
            active = active[(found[active] != before).any(axis=1)]
            if not len(active):
                break
        return found

    def _layer_costs(self, values: Floats, layer: int, free: Mask, below: Floats) -> Floats:
        """What each part of a layer adds [N, parts], given what is seen where it covers nothing.

        free: [N, pixels], where nothing above hides the layer. below: [N, pixels], cost of the
        lower layers. Sum over free and covered pixels of |x - c|^2 - below.
        """
        gain: Floats = (_sum_channels(np.square(values)) - below) * free
        seen = (values * free[:, None]).reshape(len(values), -1)
        costs: Floats = gain @ self._cover_values[layer].T
        costs -= 2 * (seen @ self._flat_colors[layer].T)
        costs += free.astype(np.float32) @ self._squares[layer].T
        return costs

    def _hidden(self, combinations: Combinations, layer: int) -> Mask:
        hidden = np.zeros((len(combinations), _PIXELS), np.bool_)
        for above in range(layer + 1, len(LAYERS)):
            hidden |= self._covers[above][combinations[:, above]]
        return hidden

    def _below(self, values: Floats, combinations: Combinations, layer: int) -> Floats:
        """[N, pixels]: cost of what the layers below show."""
        shown = self._colors[0][combinations[:, 0]]
        for lower in range(1, layer):
            part = combinations[:, lower]
            np.copyto(shown, self._colors[lower][part], where=self._covers[lower][part][:, None])
        return _sum_channels(np.square(values - shown))

    def _costs(self, values: Floats, combinations: Combinations) -> Floats:
        return np.asarray(self._below(values, combinations, len(LAYERS)).sum(axis=1))

    def _visible(self, combinations: Combinations) -> NDArray[np.int64]:
        visible = np.zeros((len(combinations), _PIXELS), np.int64)
        for layer in range(1, len(LAYERS)):
            visible[self._covers[layer][combinations[:, layer]]] = layer
        return visible


def _channels_first(pictures: NDArray[np.uint8]) -> Floats:
    """[N, 32, 32, 3] as values from 0 to 1, [N, 3, 1024]: sums over channels are fast that way."""
    flat = pictures.reshape(-1, _PIXELS, _CHANNELS).transpose(0, 2, 1)
    return np.ascontiguousarray(flat, dtype=np.float32) / np.float32(255)


def _sum_channels(values: Floats) -> Floats:
    summed: Floats = values[:, 0] + values[:, 1]
    summed += values[:, 2]
    return summed


def _palette(colors: Floats, covers: Mask) -> list[tuple[Floats, NDArray[np.int64]]]:
    """The distinct colours of a layer [3], each with the pixels where some part shows it."""
    seen = colors.transpose(0, 2, 1)[covers]
    pixels = np.nonzero(covers)[1]
    distinct, which = np.unique(seen, axis=0, return_inverse=True)
    return [(color, np.unique(pixels[which == i])) for i, color in enumerate(distinct)]
