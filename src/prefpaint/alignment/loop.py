"""Alignment, from top to bottom: sample, paste back, score, weigh, update, average, look, checkpoint.

`Aligner.run` is the loop. What one round of it does is a `Method`, which the mode makes (`modes`).
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prefpaint import distributed
from prefpaint.alignment.checkpoints import Checkpoints
from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.policy import Policy
from prefpaint.alignment.tracking import Tracking
from prefpaint.alignment.watch import Watch, best, stop, undecided
from prefpaint.alignment.watch_config import LEAST_CHANGE
from prefpaint.errors import within_memory
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.inpainting.config import SPEED_ONLY
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.progress import Progress

logger = logging.getLogger(__name__)

# Figures of an iteration that depend on the machine and the hour: shown and tracked, never part of a result.
TIMES = ("images_per_second",)


class Method(Protocol):
    """What one iteration does.

    Attributes:
        keeps_old: whether it compares the policy with an earlier one (`Policy.old`).
    """

    keeps_old: bool

    def identity(self) -> dict[str, Any]:
        """JSON of what the result depends on besides configuration and base."""
        ...

    def iterate(self, policy: Policy, iteration: int) -> dict[str, float]:
        """One round, gradients included; the same figures on every process."""
        ...


@dataclass(frozen=True)
class Result:
    """The result of a run.

    Attributes:
        network: the aligned network, stock, float32, on the CPU.
        history: one row of figures per iteration.
        watched: one row per look at held-out prompts.
    """

    network: Any
    history: list[dict[str, float]]
    watched: list[dict[str, float]]


class Aligner:
    """The alignment loop.

    Every random choice comes from (seed, iteration), so weights, optimiser and the figures so far are all that a
    resumed run needs: they are its position in the data and in every stream of random numbers too.

    Args:
        inpainter: the base model; its sampling configuration fixes the chain.
        method: what an iteration does.
        config: everything else.
        watch: looks at held-out prompts; the weights of its best look are the result. Without it, the last are.
        inputs: settings and digests, by name, of what method and watch were made from; they identify a run.
    """

    def __init__(
        self,
        inpainter: Inpainter,
        method: Method,
        config: AlignConfig,
        watch: Watch | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        self.inpainter, self.method, self.config, self.watch = inpainter, method, config, watch
        self.inputs = dict(inputs or {})
        self.base_digest = module_digest(inpainter.family.network)
        self.policy = Policy(inpainter, config, method.keeps_old)
        self.history: list[dict[str, float]] = []
        self.watched: list[dict[str, float]] = []

    def run(self, workspace: Path, title: str = "align") -> Result:
        """Align to the end, resuming from the workspace's last checkpoint if it has one.

        Args:
            workspace: folder that only this run uses.
            title: shown with the progress.

        Raises:
            PrefPaintError: the workspace holds an unfinished run of another configuration, or memory is too small.
        """
        config, policy = self.config, self.policy
        checkpoints = Checkpoints(workspace, self.identity(), config.keep_last)
        self._resume(checkpoints)
        # A finished run that is only read again has nothing to track.
        trackers = config.trackers if len(self.history) < config.iterations else ()
        settings = {**config.model_dump(mode="json"), **self.inputs}
        tracking = Tracking(trackers, workspace / "logs", settings, len(self.history))
        with Progress(title, config.iterations, len(self.history)) as progress:
            while len(self.history) < config.iterations and not self._stopped():
                row = self.iterate()
                done = len(self.history)
                last = done == config.iterations
                if self.watch is not None and (done % self.watch.config.every == 0 or last):
                    self.watched.append({"iteration": done, **self.watch.look(policy)})
                    if best(self.watched) == len(self.watched) - 1:
                        checkpoints.save_best(policy.averages_by_name())
                    row |= {f"held_out/{name}": value for name, value in self.watched[-1].items()}
                if done % config.checkpoint_every == 0 or last or self._stopped():
                    checkpoints.save(done, self._state())
                tracking.log(row, done)
                progress.step(1, **{name: row[name] for name in ("reward", "loss", "gamma", *TIMES) if name in row})
        if self.watched and undecided(self.watched):
            logger.warning(
                "the referee cannot tell the fills of any iteration from the base's (gains below %g of a score's "
                "deviation): the weights of the last are kept; give it more rated test prompts (masks.prompts.test)",
                LEAST_CHANGE,
            )
        tracking.close()
        checkpoints.finish()
        made = policy.finish(checkpoints.load_best() if self.watched else policy.averages_by_name())
        policy.release()
        return Result(made, self.history, self.watched)

    def _resume(self, checkpoints: Checkpoints) -> None:
        """Continue from the last checkpoint, which is not kept in memory after that."""
        saved = checkpoints.latest()
        if saved is not None and len(saved["history"]) > self.config.iterations:
            checkpoints.restart()
        elif saved is not None:
            self.policy.restore(saved["policy"])
            self.history, self.watched = saved["history"], saved["watched"]

    def identity(self) -> dict[str, Any]:
        """What the weights depend on."""
        watched = self.watch.identity() if self.watch else {}
        return {
            "align": self.config.identity(),
            "sampling": self.inpainter.config.model_dump(mode="json", exclude=SPEED_ONLY),
            "base": self.base_digest,
            **self.method.identity(),
            **watched,
            **self.inputs,
        }

    def iterate(self) -> dict[str, float]:
        """One iteration; returns its figures, and keeps those that are not times."""
        iteration, before = len(self.history), self.inpainter.evaluations
        started = time.perf_counter()
        with within_memory(
            f"lower align.micro_batch (now {self.config.micro_batch}) or align.rollout_batch (now "
            f"{self.config.rollout_batch}), set align.gradient_checkpointing: true, or align.tune: lora"
        ):
            row = {"iteration": float(iteration), **self.method.iterate(self.policy, iteration)}
        self.policy.average()
        earlier = self.history[-1]["network_evaluations"] if self.history else 0
        row["network_evaluations"] = earlier + sum(distributed.gather(self.inpainter.evaluations - before))
        self.history.append(dict(row))
        return row | {"images_per_second": row["images"] / (time.perf_counter() - started)}

    def _stopped(self) -> bool:
        return self.watch is not None and stop(self.watched, self.watch.config)

    def _state(self) -> dict[str, Any]:
        return {"policy": self.policy.state(), "history": self.history, "watched": self.watched}
