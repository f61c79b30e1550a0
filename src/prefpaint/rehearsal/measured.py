"""`python -m prefpaint.rehearsal.measured REPORT MODULE …`: run a module and write down what its process took."""

import ctypes
import json
import re
import resource
import runpy
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from prefpaint.files import whole_file

# What predicts in the families of `inpainting`.
NETWORKS = ("UNet2DConditionModel", "SD3Transformer2DModel", "FluxTransformer2DModel")


SECONDS_BETWEEN_LOOKS = 0.2


def memory(kind: str) -> int:
    """Bytes of this process's memory, of a kind that Linux counts.

    Args:
        kind: VmHWM, the most that it ever held, mapped files included; or RssAnon, what is its own and no file's.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.findall(rf"{kind}:\s+(\d+) kB", status)[0])


class OwnMemory(threading.Thread):
    """Looks at this process's own memory now and then; `peak` is the most it saw, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0

    def run(self) -> None:
        while True:
            self.peak = max(self.peak, memory("RssAnon"))
            time.sleep(SECONDS_BETWEEN_LOOKS)


def run(report: Path, module: str, arguments: list[str]) -> int:
    """Run a module as a program.

    Args:
        report: JSON, written where the program ends well: seconds, cpu_seconds; peak_bytes of its memory, mapped files
            included, and own_peak_bytes without them, which no other process could have had; evaluations of networks.
        module: dotted name.
        arguments: of the program.

    Returns:
        Its exit status.
    """
    from torch.nn.modules.module import register_module_forward_hook

    evaluations = 0

    def count(network: Any, given: Any, named: Any, output: Any) -> None:
        nonlocal evaluations
        if type(network).__name__ in NETWORKS:
            evaluations += len(output.sample)

    register_module_forward_hook(count, with_kwargs=True)
    own = OwnMemory()
    own.start()
    started, code = time.monotonic(), 0
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    if code == 0:
        used = resource.getrusage(resource.RUSAGE_SELF)
        figures = {
            "seconds": time.monotonic() - started,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "peak_bytes": memory("VmHWM"),
            "own_peak_bytes": own.peak,
            "evaluations": evaluations,
        }
        with whole_file(report) as temporary:
            temporary.write_text(json.dumps(figures), encoding="utf-8")
    return code


if __name__ == "__main__":
    # Where the rehearsal is killed, its stage must not go on: the next run would start a second one beside it.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    sys.exit(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
