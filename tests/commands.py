"""`kedro …` in a process of its own that has the large libraries loaded already.

Loading torch, diffusers and Great Expectations takes most of a small command's time. A command here is a fork of one
process that has loaded them, and nothing of this project: that comes from the path which the command is given.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = (
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint",
    "great_expectations",
    "great_expectations.expectations",
    "huggingface_hub",
    "kedro_datasets",
    "matplotlib.figure",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "skimage.data",
    "sklearn.datasets",
    "sqlalchemy",
    "torch",
    "transformers.models.clip.modeling_clip",
    "transformers.models.clip.tokenization_clip",
)

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(list(LIBRARIES))


def _work(arguments: tuple[str, ...], folder: str, environment: dict[str, str], output: str, errors: str) -> None:
    for stream, file in ((sys.stdout, output), (sys.stderr, errors)):
        os.dup2(os.open(file, os.O_WRONLY), stream.fileno())
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # What an interpreter does of itself with `-m` and PYTHONPATH.
    sys.path[:0] = [folder, *environment["PYTHONPATH"].split(os.pathsep)]
    sys.argv = ["kedro", *arguments]
    runpy.run_module("kedro", run_name="__main__", alter_sys=True)


def kedro(arguments: tuple[str, ...], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `kedro …` to its end.

    All commands of one test process share the seed of Python's hashes; where it matters that they do not, start an
    interpreter.

    Args:
        arguments: of kedro.
        folder: to run in.
        environment: of the process, with PYTHONPATH.
    """
    with tempfile.NamedTemporaryFile("r") as output, tempfile.NamedTemporaryFile("r") as errors:
        process = _context.Process(
            target=_work, args=(arguments, str(folder), environment, output.name, errors.name), name="kedro"
        )
        process.start()
        process.join()
        assert process.exitcode is not None
        return subprocess.CompletedProcess(arguments, process.exitcode, output.read(), errors.read())
