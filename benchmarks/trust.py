"""Time and memory of V, its Cholesky factor and all trust widths, against a plain way to compute them.

Every measurement has a process of its own, so that the memory high-water mark of one does not hide that of the next.
The plain way is a float64 copy of Z, the inverse of V, and einsum over all rows.

    python benchmarks/trust.py [--rows 36000] [--size 256] [--quick]
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from prefpaint.trust.config import BoundConfig
from prefpaint.trust.fit import Embedded, fit_trust

RIDGE = 0.1


def embeddings(rows: int, size: int) -> np.ndarray:
    """Random float32 embeddings (rows, size), a thousand at a time so that making them needs no memory to speak of."""
    rng = np.random.default_rng(0)
    z = np.empty((rows, size), np.float32)
    for start in range(0, rows, 1000):
        z[start : start + 1000] = rng.standard_normal((len(z[start : start + 1000]), size), np.float32)
    return z


def rated(z: np.ndarray) -> Embedded:
    """The embeddings as rated candidates, three of each prompt."""
    score = z[:, 0] + 0.5 * z[:, 1]
    return Embedded(z, score, score, [str(row // 3) for row in range(len(z))])


def cholesky(data: Embedded, validation: Embedded) -> np.ndarray:
    """V, its factor, ψ̂ and the widths, with λ given."""
    readouts = np.zeros((2, data.z.shape[1]))
    return fit_trust(data, validation, BoundConfig(ridge=RIDGE, noise=1.0), members=readouts).widths(data.z)


def whole_fit(data: Embedded, validation: Embedded) -> np.ndarray:
    """All that the `bound` pipeline fits, with λ chosen and eight bootstrap readouts, and the widths."""
    return fit_trust(data, validation, BoundConfig()).widths(data.z)


def plain(data: Embedded, validation: Embedded) -> np.ndarray:
    """√(zᵀV⁻¹z) through the inverse."""
    wide = data.z.astype(np.float64)
    inverse = np.linalg.inv(wide.T @ wide + RIDGE * np.eye(wide.shape[1]))
    return np.sqrt(np.einsum("nd,de,ne->n", wide, inverse, wide))


WORK: dict[str, Callable[[Embedded, Embedded], np.ndarray]] = {
    "V, Cholesky, widths": cholesky,
    "the same with λ chosen and 8 bootstrap readouts": whole_fit,
    "plain: inverse and einsum": plain,
}


def _high_water() -> float:
    """Most memory this process has held, in MB; macOS counts in bytes, Linux in kilobytes."""
    unit = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(name: str, rows: int, size: int) -> tuple[np.ndarray, float, float]:
    """Widths, seconds of the quicker of two runs, and growth of the memory high-water mark in MB."""
    data, validation = rated(embeddings(rows, size)), rated(embeddings(max(rows // 10, 6), size))
    # Loads the linear algebra's libraries, whose memory is not ours.
    WORK[name](rated(embeddings(30, size)), rated(embeddings(6, size)))
    before, best = _high_water(), float("inf")
    for _ in range(2):
        started = time.perf_counter()
        widths = WORK[name](data, validation)
        best = min(best, time.perf_counter() - started)
    return widths, best, _high_water() - before


def main(arguments: list[str] | None = None) -> None:
    """Measure and print; ends with an error when the two ways disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=36_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: tells that it runs, not how fast")
    options = parser.parse_args(arguments)
    rows, size = (300, 8) if options.quick else (options.rows, options.size)
    found: dict[str, Any] = {}
    for name in WORK:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found[name] = pool.apply(measure, (name, rows, size))
    table = Table(title=f"{rows:,} × {size} float32 embeddings ({rows * size * 4 / 1e6:.0f} MB, not counted)")
    for column in ("work", "seconds", "peak memory, MB more"):
        table.add_column(column, justify="left" if column == "work" else "right")
    for name, (_, seconds, growth) in found.items():
        table.add_row(name, f"{seconds:.2f}", f"{growth:.0f}")
    Console(width=100).print(table)
    ours, theirs = (found[name][0] for name in ("V, Cholesky, widths", "plain: inverse and einsum"))
    if not np.allclose(ours, theirs, rtol=1e-6):
        raise SystemExit("the two ways give different widths")


if __name__ == "__main__":
    main()
