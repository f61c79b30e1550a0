"""Photographs that are the same picture in another file: re-encoded, resized, retouched, trimmed, turned or mirrored.

Files are first compared by a perceptual hash of 64 bits: the signs of the low frequencies of a small grey picture,
against their median (C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010, section
3.2.1). Pairs with similar hashes are then compared by the small pictures themselves. Only photographs that share a byte
of the hash are ever compared, so that the work grows little faster than their number; reading them takes most time.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from prefpaint.images import ImageFolder
from prefpaint.progress import Progress

# Sides of the small picture and of its low frequencies that are hashed, in pixels.
SIDE, HASHED = 32, 8
# Bits in which hashes of copies may differ, and how closely the small pictures must agree. Chosen on 483 photographs:
# no two correlate above 0.934, and all copies of each are found (JPEG of quality 10, a quarter of the size, a fifth
# brighter or darker, blurred, sharpened, trimmed by 1 % a side, …) and nothing else.
MOST_BITS, LEAST_CORRELATION = 12, 0.95
# Of a small picture in grey levels; less is a flat picture, whose hash is noise. No photograph was below 12.
LEAST_CONTRAST = 4.0
# Copies have the shape of their original, up to what is trimmed.
MOST_SHAPE = 1.05


def groups_of_copies(photographs: ImageFolder, keys: Sequence[str]) -> np.ndarray:
    """Which photographs are copies of each other, directly or by way of others.

    Flat pictures have nothing to be recognised by, and are in groups of their own.

    Args:
        photographs: decoded.
        keys: N of them.

    Returns:
        (N,) int64, the group of each, numbered in the order of their first members.
    """
    looks = np.empty((len(keys), SIDE, SIDE), np.float32)
    shapes = np.empty(len(keys))
    with Progress("compare photographs", len(keys)) as progress:
        for place, key in enumerate(keys):
            image = photographs[key]
            looks[place] = look(image)
            shapes[place] = image.shape[1] / image.shape[0]
            progress.step()
    pairs = similar_pairs(looks, shapes)
    links = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(keys), len(keys)))
    groups = connected_components(links, directed=False)[1]
    # In the order of first members, whatever scipy's is.
    _, first, places = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[places]


def look(image: np.ndarray) -> np.ndarray:
    """A picture, (H, W, 3) uint8, as small grey square, (SIDE, SIDE) float32 in 0-255; its shape is lost."""
    grey = Image.fromarray(image).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS), np.float32)


def similar_pairs(looks: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """Pairs of copies.

    Args:
        looks: (N, SIDE, SIDE) of `look`.
        shapes: (N,) widths divided by heights.

    Returns:
        (P, 2) int64, the smaller place first, sorted.
    """
    plain = _normalised(looks)
    usable = looks.std(axis=(1, 2)) >= LEAST_CONTRAST
    hashes = _hashes(looks)
    found = [np.empty((0, 2), np.int64)]
    for quarters in range(4):
        for mirrored in (False, True):
            turned = np.rot90(looks[:, :, ::-1] if mirrored else looks, quarters, axes=(1, 2))
            turned_shapes = 1 / shapes if quarters % 2 else shapes
            turned_plain, turned_hashes = _normalised(turned), _hashes(turned)
            for a, b in _sharing_a_byte(turned_hashes, hashes, usable):
                ratio = turned_shapes[a] / shapes[b]
                alike = np.bitwise_count(turned_hashes[a] ^ hashes[b]) <= MOST_BITS
                alike &= (ratio <= MOST_SHAPE) & (ratio >= 1 / MOST_SHAPE)
                a, b = a[alike], b[alike]
                a, b = (side[(turned_plain[a] * plain[b]).sum(1) >= LEAST_CORRELATION] for side in (a, b))
                found.append(np.stack([a, b], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _normalised(looks: np.ndarray) -> np.ndarray:
    """(N, SIDE²) with mean 0 and length 1, so that products are correlations."""
    flat = looks.reshape(len(looks), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def _hashes(looks: np.ndarray) -> np.ndarray:
    """(N,) uint64."""
    low = dctn(looks, axes=(1, 2), norm="ortho")[:, :HASHED, :HASHED].reshape(len(looks), -1)
    return np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1).view(np.uint64)[:, 0]


def _sharing_a_byte(
    first: np.ndarray, second: np.ndarray, usable: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Places a < b, some at a time, of which one of the 8 bytes of first[a] and second[b] is the same."""
    for byte in range(8):
        of_first, of_second = (hashes.view(np.uint8).reshape(-1, 8)[:, byte] for hashes in (first, second))
        members = [np.flatnonzero(usable & (of_second == value)) for value in range(256)]
        for value, others in enumerate(members):
            for a in np.flatnonzero(usable & (of_first == value)):
                later = others[np.searchsorted(others, a, side="right") :]
                if len(later):
                    yield np.full(len(later), a), later
