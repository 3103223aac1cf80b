"""What runs in each training worker: take packs, step, look at held-out words now and then, save.

A step takes as many packs as the run ever had workers, however many of those there are at the time: while
some are missing, the others take several each.

Batch norm across workers: each normalises with the statistics of its own batch, and keeps running ones. Rank
0's count: its averages are sent to the others before each checkpoint, so that what is evaluated is what is
saved, and its weights too: machines that round differently part by a little from step to step.
"""

import copy
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import nn

from crnn.checkpoint import Bundle, averaged_weights
from crnn.model import channels_last, seeded
from crnn.training import Batch, Learner
from pipeline import resume
from pipeline.board import StopSign
from pipeline.checkpoint_upload import CheckpointUpload
from pipeline.hardest import Hardest, show
from pipeline.machine import available_cpus
from pipeline.meter import Meter, Turn
from pipeline.packing import Pack
from pipeline.patience import looks_without_best
from pipeline.ranks import of_ranks, sums
from pipeline.tracking import MetricPoint
from pipeline.validation import HeldOut, last_accuracy, metrics
from pipeline.worker_config import WorkerConfig


def train_loop(settings: dict[str, Any]) -> None:
    """The function that Ray Train runs on every worker.

    Args:
        settings: "config", a WorkerConfig, and "board", the handle of a `pipeline.board.Board`.
    """
    Worker(settings["config"], settings["board"]).run()


class Worker:
    """One rank of a training run."""

    def __init__(self, config: WorkerConfig, board: Any) -> None:
        context = ray.train.get_context()
        self.config, self._board = config, board
        self.rank, self.world_size = context.get_world_rank(), context.get_world_size()
        self.device = ray.train.torch.get_device()
        # Of this machine, which isn't the driver's; a GPU's worker computes little besides.
        cores = 1 if config.gpu else available_cpus() // context.get_local_world_size()
        torch.set_num_threads(max(1, cores))
        rules = config.packer.rules
        self.network = seeded(rules.network, rules.charset.num_classes, config.packer.seed)
        if config.start is not None:
            self.network.load_state_dict(ray.get(config.start))
        channels_last(self.network.to(self.device))
        self.learner = Learner(
            self.network,
            config.optimizer,
            precision=config.precision,
            world_size=self.world_size,
            wrap=self._shared if self.world_size > 1 else None,
        )
        # Counts travel between the hosts beside the gradients, without a stop of the GPU's queue.
        self.control = dist.new_group(backend="gloo") if self.world_size > 1 else None
        self.progress = resume.Progress(packs_per_step=config.packs_per_step)
        self.held_out = {
            name: HeldOut.load(packer, self.rank, self.world_size) for name, packer in config.held_out.items()
        }
        self.meter = Meter()
        self._stop_sign = StopSign(board)
        self._refused = 0
        self._looks_without_best = 0
        self._hardest = Hardest()
        self._upload = CheckpointUpload()

    def run(self) -> None:
        """Trains from the last checkpoint, if there is one, until the run is at its end or told to stop."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is not None:
            with checkpoint.as_directory() as directory:
                state, self.progress = resume.read(Path(directory), self.device)
            self.learner.restore(state)
            # Fewer workers than before take several packs each, so that a step sees no less than it did.
            self.progress.packs_per_step = max(self.progress.packs_per_step, self.config.packs_per_step)
            if self.rank:  # what all ranks had is now rank 0's, and counted once
                self.progress.rejects = {}
            self._count_looks()
        feed = self._packs()
        share = len(range(self.rank, self.progress.packs_per_step, self.world_size))
        next_save = self._next_save()
        packs = list(islice(feed, share))
        self.meter = Meter()  # the wait for the first packs is the start-up's
        while True:
            turn = self._turn(sum(pack.batch.count for pack in packs), bool(packs))
            if turn.stop:
                self._save(look=False)  # whoever ends a run leaves it little time
                return
            if not turn.active or turn.done >= 1 or self._looks_without_best >= self.config.patience:
                break
            for pack in packs:
                self.progress.position.consume(pack.window, pack.pack, pack.packs_in_window)
                self.progress.rejects |= {r["id"]: (r["reason"], r["detail"]) for r in pack.rejects}
            if turn.images:
                learnt = [pack for pack in packs if pack.batch.count]
                self._step(learnt, turn)
                if self._refused >= self.config.max_refused:
                    self._give_up(learnt)
                    return
            if self.progress.images >= next_save:
                self._save()
                next_save = self._next_save()
            started = time.perf_counter()
            packs = list(islice(feed, share))
            self.meter.wait_s += time.perf_counter() - started
        if not self._has_looked():
            self._save()

    def _step(self, packs: Sequence[Pack], turn: Turn) -> None:
        """Takes a step; without packs it adds nothing."""
        counts = [pack.batch.count for pack in packs]
        if packs:
            batches = [pack.batch for pack in packs]
            outcome = self.learner.step(*batches, global_count=turn.images, progress=turn.done)
            each = torch.split(outcome.losses, counts)
            for pack, losses in zip(packs, each, strict=True):
                self._hardest.add(pack, losses, self.learner.steps)
        else:
            outcome = self.learner.idle_step(self._blank_batch(), progress=turn.done)
        self.progress.images += turn.images
        self.meter.add(outcome, sum(counts))
        if self.meter.steps >= self.config.log_every:
            self._log_interval()

    def _give_up(self, packs: Sequence[Pack]) -> None:
        """Says which images of the last step, which was refused, had no finite loss."""
        ids: list[str] = []
        for pack in packs:
            with torch.inference_mode():
                finite = self.learner.finite(pack.batch).tolist()
            ids += [i for i, good in zip(pack.ids, finite, strict=True) if not good]
        ray.get(self._board.give_up.remote(self.learner.steps, ids))

    def _log_interval(self) -> None:
        refused = self.learner.take_refused()  # waits for the device: all steps are done from here on
        self._refused = refused.in_a_row  # the same on every rank, as the gradient is
        self.progress.skipped_steps += refused.count
        meter, self.meter = self.meter, Meter()
        elapsed = self.meter.started - meter.started
        self.progress.seconds += elapsed
        loss_sum, images, wait_s = sums([meter.loss_sum, meter.images, meter.wait_s], self.control)
        each = of_ranks([meter.images, meter.wait_s], self.control)
        rate = images / elapsed
        values = {
            "train/loss": loss_sum / max(images, 1),
            "train/learning_rate": meter.learning_rate,
            "train/grad_norm": meter.grad_norm,
            "train/images_seen": self.progress.images,
            "train/images_per_s": rate,
            "train/data_wait_share": wait_s / (elapsed * self.world_size),
            "train/skipped_steps": self.progress.skipped_steps,
            "train/left_out_rows": sums([len(self.progress.rejects)], self.control)[0],
        }
        for rank, (seen, waited) in enumerate(each if self.world_size > 1 else ()):
            values[f"train/rank_{rank}/images_per_s"] = seen / elapsed
            values[f"train/rank_{rank}/data_wait_share"] = waited / elapsed
        values |= {key: self.progress.images / once for key, once in self.config.epoch_images.items()}
        values |= meter.machine(elapsed, self.device)
        self._note(values)
        if self.rank == 0:
            facts: dict[str, float] = {"images": self.progress.images, "total": self.config.total_images}
            facts |= {"step": self.learner.steps, "loss": values["train/loss"], "images_per_s": rate}
            facts["data_wait"] = values["train/data_wait_share"]
            accuracy = last_accuracy(self.progress.history, next(iter(self.held_out)))
            facts |= {} if accuracy is None else {"accuracy": accuracy}
            facts |= {"seconds_left": self.config.total_seconds - self.progress.seconds}
            self._board.post.remote(facts)

    def _save(self, *, look: bool = True) -> None:
        """Looks at held-out words with the averaged weights, then reports it all as one checkpoint.

        Args:
            look: False leaves the held-out words out; the checkpoint can't be the best one then.
        """
        if self.meter.steps:
            self._log_interval()
        began = time.perf_counter()
        rules = self.config.packer.rules
        if self.world_size > 1:
            for tensor in (*self.learner.averaged.values(), *self.learner.model.parameters()):
                dist.broadcast(tensor.detach(), src=0)
        shown = copy.deepcopy(self.network).eval()
        shown.load_state_dict(averaged_weights(self.network, self.learner.averaged))
        found = {name: words.evaluate(shown, self.control) for name, words in self.held_out.items() if look}
        first = look and not any(p.key.startswith("validation/") for p in self.progress.history)
        self._note(metrics(found))
        self._count_looks()
        looked = time.perf_counter()
        hardest = self._hardest.take(self.control) if look else []
        self._note({"train/look_s": looked - began})  # for which training stood still
        directory = self._upload.folder()
        resume.write_rank(directory, self.rank, self.progress)
        if self.rank == 0:
            bundle = Bundle(
                network=rules.network,
                charset=rules.charset,
                preprocess=rules.preprocess,
                weights=shown.state_dict(),
                language=ray.get(self.config.language),
                provenance=self.config.provenance | {"images_seen": self.progress.images},
            )
            pictures = {f"{name}/{self.learner.steps:09d}.png": f.sheet for name, f in found.items()}
            if first:  # MLflow's slider begins at step 0, and shows nothing before it is moved otherwise
                pictures |= {f"{name}/{0:09d}.png": words.truths() for name, words in self.held_out.items()}
            hard = show(hardest, shown, rules.charset, self.learner.steps) if hardest else None
            state = self.learner.state()
            resume.write_shared(
                directory, state, self.progress, bundle, pictures, ranks=self.world_size, hardest=hard
            )
        reported = metrics(found) | {
            "step": self.learner.steps,
            "images_seen": self.progress.images,
            "images_per_s": self.progress.images / max(self.progress.seconds, 1e-9),
        }
        self._upload.report(directory, reported, wait=not look)
        # The same of drawing, writing and waiting; stands in the next checkpoint's history.
        self._note({"train/save_s": time.perf_counter() - looked})
        self.meter = Meter()

    def _count_looks(self) -> None:
        """Of the history, which is the same on every rank, and so are its findings."""
        config = self.config
        self._looks_without_best = looks_without_best(
            self.progress.history, config.score, config.counts_since
        )

    def _has_looked(self) -> bool:
        """Whether the held-out words were read at this very step; a second time would tell nothing new."""
        looks = (p.step for p in reversed(self.progress.history) if p.key.startswith("validation/"))
        return next(looks, None) == self.learner.steps

    def _packs(self) -> Iterator[Pack]:
        feed = ray.train.get_dataset_shard("train")
        height = self.config.packer.rules.preprocess.height
        for table in feed.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=4):
            yield Pack.from_table(table, height, self.device)

    def _shared(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over the ranks."""
        devices = [self.device] if self.device.type == "cuda" else None
        # Buffers are sent when they are needed: ranks with other numbers of packs would send them otherwise.
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, broadcast_buffers=False)

    def _blank_batch(self) -> Batch:
        """For a rank without a pack: something to take through the network."""
        config = self.config.packer.rules.preprocess
        return Batch(
            images_NCHW=torch.zeros(
                1, 1, config.height, config.min_width, dtype=torch.uint8, device=self.device
            ),
            targets=torch.zeros(0, dtype=torch.int32, device=self.device),
            target_lengths=torch.zeros(1, dtype=torch.int32),
        )

    def _next_save(self) -> int:
        every = self.config.save_every
        return (self.progress.images // every + 1) * every

    def _turn(self, count: int, active: bool) -> Turn:
        """The same on all workers, whose clocks and news differ: all take what they have together."""
        spent = self.progress.seconds + time.perf_counter() - self.meter.started
        stop = self.rank == 0 and self._stop_sign.is_up()
        images, workers, seconds, stops = sums([count, active, spent, stop], self.control)
        done = max(
            self.progress.images / self.config.total_images,
            seconds / self.world_size / self.config.total_seconds,
        )
        return Turn(images=int(images), active=workers > 0, done=done, stop=stops > 0)

    def _note(self, values: dict[str, float]) -> None:
        now = time.time_ns() // 1_000_000
        self.progress.history.extend(
            MetricPoint(key=key, value=float(value), step=self.learner.steps, timestamp_ms=now)
            for key, value in values.items()
        )
