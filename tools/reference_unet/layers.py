"""The layers: arrays [B, C, H, W] or [B, C] in, the same out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from reference_unet.parameters import Array, Parameters


def silu(x: Array) -> Array:
    return x / (1.0 + np.exp(-x))


def linear(p: Parameters, name: str, x: Array, out: int, bias: bool = True) -> Array:
    y = x @ p.weight(f"{name}.weight", out, x.shape[1]).T
    return y + p.bias(f"{name}.bias", out) if bias else y


def padded(x: Array, margin: int) -> Array:
    return np.pad(x, ((0, 0), (0, 0), (margin, margin), (margin, margin)))


def conv(p: Parameters, name: str, x: Array, out: int, kernel: int, extra: int = 0) -> Array:
    """Stride 1; `extra` rows and columns more than the input on every side."""
    weight = p.weight(f"{name}.weight", out, x.shape[1], kernel, kernel)
    windows = sliding_window_view(padded(x, kernel // 2 + extra), (kernel, kernel), axis=(2, 3))
    y = np.tensordot(windows, weight, axes=([1, 4, 5], [1, 2, 3]))
    return np.moveaxis(y + p.bias(f"{name}.bias", out), 3, 1)


def group_norm(p: Parameters, name: str, x: Array, epsilon: float) -> Array:
    batch, channels = x.shape[:2]
    groups = min(32, channels // 4)
    grouped = x.reshape(batch, groups, -1)
    mean = grouped.mean(axis=2, keepdims=True)
    variance = grouped.var(axis=2, keepdims=True)
    normed = ((grouped - mean) / np.sqrt(variance + epsilon)).reshape(x.shape)
    gain = p.gain(f"{name}.weight", channels)[:, None, None]
    return np.asarray(normed * gain + p.bias(f"{name}.bias", channels)[:, None, None])


def _filter(p: Parameters, name: str, taps: Sequence[float]) -> Array:
    t = np.asarray(taps, dtype=np.float64)
    f = np.asarray(np.outer(t, t) / t.sum() ** 2)
    p.constant(f"{name}.resample_filter", f[None, None])
    return f


def _strided(x: Array, f: Array) -> Array:
    windows = sliding_window_view(x, f.shape, axis=(2, 3))[:, :, ::2, ::2]
    return np.tensordot(windows, f, axes=([4, 5], [0, 1]))


def downsample(p: Parameters, name: str, x: Array, taps: Sequence[float]) -> Array:
    return _strided(padded(x, (len(taps) - 1) // 2), _filter(p, name, taps))


def upsample(p: Parameters, name: str, x: Array, taps: Sequence[float]) -> Array:
    """Every pixel spreads 4 times the filter over an image of twice the size."""
    f = 4.0 * _filter(p, name, taps)
    batch, channels, height, width = x.shape
    length = len(taps)
    y = np.zeros((batch, channels, 2 * height - 2 + length, 2 * width - 2 + length))
    for i in range(length):
        for j in range(length):
            y[:, :, i : i + 2 * height - 1 : 2, j : j + 2 * width - 1 : 2] += x * f[i, j]
    margin = (length - 1) // 2
    return y[:, :, margin : margin + 2 * height, margin : margin + 2 * width]


def conv_down(p: Parameters, name: str, x: Array, out: int, taps: Sequence[float]) -> Array:
    """3x3 convolution, then the filter over what it gives beyond the border too."""
    f = _filter(p, name, taps)
    return _strided(conv(p, name, x, out, 3, (len(taps) - 1) // 2), f)


def attention(p: Parameters, name: str, x: Array, heads: int) -> Array:
    """The channels of qkv are ordered (head, channel, part)."""
    batch, channels, height, width = x.shape
    qkv = conv(p, f"{name}.qkv", x, 3 * channels, 1)
    qkv = qkv.reshape(batch, heads, channels // heads, 3, height * width)
    q, k, v = qkv[:, :, :, 0], qkv[:, :, :, 1], qkv[:, :, :, 2]
    scores = np.einsum("bhcq,bhck->bhqk", q, k) / np.sqrt(channels // heads)
    scores = np.exp(scores - scores.max(axis=3, keepdims=True))
    weights = scores / scores.sum(axis=3, keepdims=True)
    mixed = np.einsum("bhqk,bhck->bhcq", weights, v).reshape(x.shape)
    return conv(p, f"{name}.proj", mixed, channels, 1)


def positional(c_noise: Array, channels: int, endpoint: bool) -> tuple[Array, Array]:
    """Cosines and sines [B, channels / 2]."""
    half = channels // 2
    exponent = (np.arange(half, dtype=np.float32) / np.float32(half - endpoint)).astype(np.float64)
    return _waves(c_noise, np.float64(np.float32(1e-4)) ** exponent)


def fourier(p: Parameters, name: str, c_noise: Array, channels: int) -> tuple[Array, Array]:
    turns = p.frequencies(f"{name}.freqs", channels // 2)
    return _waves(c_noise, np.float32(2.0 * np.pi) * turns.astype(np.float32))


def _waves(c_noise: Array, frequencies: NDArray[np.floating[Any]]) -> tuple[Array, Array]:
    """Of angles rounded to float32 as in training: large ones lose their digits."""
    angles = np.outer(c_noise.astype(np.float32), frequencies.astype(np.float32)).astype(np.float64)
    return np.cos(angles), np.sin(angles)
