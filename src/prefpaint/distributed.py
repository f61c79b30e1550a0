"""Several processes that share one piece of work: started here, or by an outer `torchrun`.

Alone, every function does the obvious for one process and torch.distributed is never touched.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prefpaint.errors import PrefPaintError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

# A process may wait for another that trains or paints for hours; one that has died is noticed by the launcher.
PATIENCE = timedelta(days=2)


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


def processes() -> int:
    """The number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes what is written once."""
    return rank() == 0


def device() -> "torch.device":
    """This process's GPU, or the CPU without one."""
    import torch

    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def _join(meeting: str | None = None) -> None:
    """Join the process group.

    Args:
        meeting: where the processes find each other; None: as torchrun's environment says.
    """
    import torch

    if torch.distributed.is_initialized():
        return
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(device())
        backend = "cpu:gloo,cuda:nccl"
    torch.distributed.init_process_group(
        backend, init_method=meeting or "env://", rank=rank(), world_size=processes(), timeout=PATIENCE
    )


def barrier() -> None:
    """Return when all processes have arrived."""
    gather(None)


def share(items: Sequence[T]) -> Sequence[T]:
    """This process's part of a sequence that all have: consecutive items, parts as equal as they can be."""
    whole, rest = divmod(len(items), processes())
    start = rank() * whole + min(rank(), rest)
    return items[start : start + whole + (rank() < rest)]


def gather(value: Any) -> list[Any]:
    """A small picklable value of every process, in their order, on every process."""
    if processes() == 1:
        return [value]
    import torch

    _join()
    values: list[Any] = [None] * processes()
    torch.distributed.all_gather_object(values, value)
    return values


def sum_in_place(tensors: Sequence["Tensor"]) -> None:
    """Replace every tensor by its sum over processes; one message for all of them.

    Args:
        tensors: of one type and device; the same shapes on every process.
    """
    if processes() == 1:
        return
    import torch

    _join()
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


def launch(work: Callable[[], Any], count: int, title: str) -> None:
    """Do work in several processes of this machine, and wait for them; what it returns is dropped.

    Args:
        work: called without arguments in each; what it closes over is copied to it.
        count: how many processes; one per GPU where there are GPUs.
        title: names the work in errors.

    Raises:
        PrefPaintError: one of them failed; the others were ended.
    """
    import cloudpickle
    import torch
    from torch.multiprocessing.spawn import ProcessException, spawn

    if torch.cuda.is_available() and count > torch.cuda.device_count():
        raise PrefPaintError(
            f"{title}: {count} processes are requested, but there are {torch.cuda.device_count()} GPUs; lower processes"
        )
    with tempfile.TemporaryDirectory() as folder:
        task = Path(folder) / "task"
        task.write_bytes(cloudpickle.dumps(work))
        try:
            spawn(_work, (str(task), count), nprocs=count)
        except ProcessException as error:
            reason = str(error).strip().splitlines()[-1].removeprefix("prefpaint.errors.PrefPaintError: ")
            raise PrefPaintError(
                f"{title}: process {error.error_index} of {count} failed and the others were ended: {reason}"
            ) from error


def _work(number: int, task: str, count: int) -> None:
    """What a started process does."""
    # As torchrun sets them, for accelerate too. All are on this machine, which may have no other network.
    os.environ |= {
        **{name: str(number) for name in ("RANK", "LOCAL_RANK")},
        **{name: str(count) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")},
        "MASTER_ADDR": "127.0.0.1",
    }
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    import cloudpickle
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    _join(f"file://{task}.meeting")
    # Written by this process's parent a moment ago, into a folder of its own.
    cloudpickle.loads(Path(task).read_bytes())()
    barrier()
    torch.distributed.destroy_process_group()
