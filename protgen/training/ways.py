"""Ways: what a teacher passes through from noise to data, written once and read by its student as often as it likes.

A folder of `way_00000.safetensors`, one a sample, and `ways.json`, which says how they were made. A file holds the
points of the way at the student's times (`x_NAME`, (steps + 1, l, ...), the last at t = 0) and y (`y_residue`,
`y_globals`, `y_pair`). Way i depends on (seed, i) alone, so that making them goes on where it stopped.
"""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from protgen.conditions.embedding import ConditionEmbedding
from protgen.data.dataset import LengthBuckets
from protgen.errors import ConfigError
from protgen.families.base import Family, IterativeFamily
from protgen.models.files import load_json, load_tensors, save_json, save_tensors
from protgen.samplers.autoguidance import AutoGuidance
from protgen.samplers.base import Denoiser, Guidance, SamplingTask
from protgen.samplers.euler import Euler
from protgen.samplers.grid import time_grid
from protgen.samplers.jumps import Witness, aim_of, require_jumps
from protgen.threads import in_order
from protgen.types import JSON, Batch, Conditioning, State

ABOUT = "ways.json"
AT_ONCE = 32  # ways on a GPU; on a CPU each is made alone, on one thread, and comes out the same on any number of cores


@dataclass(frozen=True)
class Teaching:
    """How a teacher samples, and in how many steps its student is to.

    Attributes:
        steps: of the student.
        teacher_steps: of the teacher, a multiple of these.
        temperature: of both.
        guidance: weight of the teacher's classifier-free guidance; 1 for none.
        guidance_interval: times between which that acts.
        autoguidance: weight of the teacher's autoguidance; 1 for none.

    Raises:
        ConfigError: if the teacher's steps are no multiple of the student's.
    """

    steps: int = 10
    teacher_steps: int = 20
    temperature: float = 1.0
    guidance: float = 1.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    autoguidance: float = 1.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.teacher_steps < 1 or self.teacher_steps % self.steps:
            raise ConfigError(
                f"{self.teacher_steps} steps of the teacher are no multiple of the student's {self.steps}; "
                "give another distil.teacher_steps"
            )


@dataclass(frozen=True)
class Asked:
    """y of one sample.

    Attributes:
        cond: y, of a batch of one.
        mask: (1, l) real positions.
    """

    cond: Conditioning
    mask: Tensor


class Teacher:
    """A model that is sampled for its ways.

    Args:
        family: of the model; its weights are left as they are.
        conditions: of the model.
        teaching: how it is sampled.
        weak: the weaker family that guides it; None where nothing does.

    Raises:
        ConfigError: if the family has no steps, or steps that cannot be solved for their prediction; or a weak family
            is missing.
    """

    def __init__(
        self, family: Family, conditions: ConditionEmbedding, teaching: Teaching, weak: Family | None = None
    ) -> None:
        if not isinstance(family, IterativeFamily) or not isinstance(weak, IterativeFamily | None):
            raise ConfigError(
                f"distillation makes steps fewer, and {type(family).__name__} has none; distil a model of flow_matching"
            )
        if weak is None and teaching.autoguidance != 1:
            raise ConfigError("autoguidance needs a model with a weaker one to guide it; leave it at 1")
        require_jumps(family.path, family.space)
        self.family, self.weak = family.eval(), None if weak is None else weak.eval()
        self.conditions, self.teaching = conditions, teaching
        self.sampler = Euler(teaching.teacher_steps)

    @torch.no_grad()
    def ways(self, cond: Conditioning, mask: Tensor, generators: Sequence[Generator]) -> list[State]:
        """Points at the times of the student's steps, the last at 0.

        Args:
            cond: y of a batch.
            mask: (b, l) real positions.
            generators: one for each sample.
        """
        teaching = self.teaching
        free = self.conditions.unknown(mask)
        seen: list[Witness] = []

        def watched(denoiser: Denoiser) -> Denoiser:
            seen.append(Witness(self.autoguided(denoiser)))
            return seen[0]

        task = SamplingTask(
            mask,
            cond,
            generators,
            temperature=teaching.temperature,
            guidance=Guidance(free, teaching.guidance, teaching.guidance_interval),
            guides=[watched],
        )
        end = self.family.sample(task, self.sampler)
        return [*seen[0].points[:: teaching.teacher_steps // teaching.steps], end]

    def autoguided(self, denoiser: Denoiser) -> Denoiser:
        """The denoiser, led away from the weaker one."""
        if self.weak is None or self.teaching.autoguidance == 1:
            return denoiser
        assert isinstance(self.weak, IterativeFamily)
        return AutoGuidance(denoiser, self.family.space, self.weak.denoiser(), self.teaching.autoguidance)


def make_ways(
    folder: Path,
    teacher: Teacher,
    asked: Callable[[int], Asked],
    count: int,
    seed: int,
    about: JSON,
    on_way: Callable[[int], None] = lambda _: None,
) -> None:
    """Write ways that are not there yet.

    Args:
        folder: of them.
        teacher: whose ways they are; on the device where they are made.
        asked: y of way i.
        count: of ways in all.
        seed: of their noise.
        about: what else decides them, for `ways.json`.
        on_way: called with the number of ways that are there, after each; may raise to stop.

    Raises:
        ConfigError: if the folder holds ways that were made otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = {"teaching": asdict(teacher.teaching), "seed": seed, **about}
    kept = folder / ABOUT
    if not kept.is_file():
        save_json(content, kept)
    elif load_json(kept) != json.loads(json.dumps(content)):  # tuples read as lists
        raise ConfigError(f"{folder}: holds ways that were made otherwise ({ABOUT}); choose another run=")
    missing = [i for i in range(count) if not path_of(folder, i).is_file()]
    device = next(teacher.family.parameters()).device
    size = 1 if device.type == "cpu" else AT_ONCE
    parts = [missing[k : k + size] for k in range(0, len(missing), size)]
    reading = threading.Lock()  # batches of images keep the order of an epoch, which one thread at a time may change

    def make(part: list[int], check: Callable[[], None]) -> list[int]:
        check()
        with reading:
            rows = [asked(i) for i in part]
        cond, mask = padded([row.cond for row in rows], [row.mask for row in rows])
        generators = [
            Generator().manual_seed(int(np.random.SeedSequence([seed, i]).generate_state(1)[0])) for i in part
        ]
        points = teacher.ways(cond.rows(lambda x: x.to(device)), mask.to(device), generators)
        for k, i in enumerate(part):
            save_way(path_of(folder, i), points, k, rows[k])
        return part

    done = count - len(missing)
    for part in in_order(make, parts, torch.get_num_threads() if device.type == "cpu" else 1):
        done += len(part)
        on_way(done)


def path_of(folder: Path, number: int) -> Path:
    """The file of a way."""
    return folder / f"way_{number:05d}.safetensors"


def save_way(path: Path, points: Sequence[State], row: int, asked: Asked) -> None:
    """Write one way of a batch.

    Args:
        path: of the file.
        points: of the batch at each time.
        row: of the way.
        asked: its y.
    """
    length = asked.mask.shape[1]
    tensors = {f"x_{name}": torch.stack([x[name][row, :length] for x in points]) for name in points[0].fields}
    tensors |= {"y_residue": asked.cond.residue[0], "y_globals": asked.cond.globals[0]}
    if asked.cond.pair is not None:
        tensors["y_pair"] = asked.cond.pair[0].half() if is_half(asked.cond.pair) else asked.cond.pair[0]
    save_tensors(tensors, path)


def is_half(x: Tensor) -> bool:
    """Whether numbers are as good in half precision, as flags of pairs are, which take most of a file."""
    return bool((x.half().to(x.dtype) == x).all())


def padded(conds: Sequence[Conditioning], masks: Sequence[Tensor]) -> tuple[Conditioning, Tensor]:
    """y and masks of several samples as those of a batch, zero beyond the end of each."""
    length = max(mask.shape[1] for mask in masks)
    mask = torch.cat([widened(mask, length, 1) for mask in masks])
    pairs = [widened(widened(cond.pair, length, 1), length, 2) for cond in conds if cond.pair is not None]
    residue = torch.cat([widened(cond.residue, length, 1) for cond in conds])
    return Conditioning(residue, torch.cat([cond.globals for cond in conds]), torch.cat(pairs) if pairs else None), mask


def widened(x: Tensor, length: int, axis: int) -> Tensor:
    """A tensor with zeros added to an axis until it has that length."""
    shape = list(x.shape)
    shape[axis] = length - shape[axis]
    return torch.cat([x, x.new_zeros(shape)], axis) if shape[axis] else x


class WayBatches:
    """Batches of jumps of ways, as `train` takes them: `batches(i)` is batch i, whatever was asked before.

    A batch holds one jump of each of some ways of similar length: `t`, `first` (whether it is the first of its way),
    `x_NAME`, `aim_NAME` and `guess_NAME` (points, the prediction that the step needs, and that of the step before), and
    y. The jumps of a batch are spread evenly over the times.

    Args:
        folder: of the ways.
        numbers: of those that are read.
        family: of the student.
        max_pairs: most pairs of positions of a batch (`LengthBuckets`).
        seed: of the order.

    Raises:
        CheckpointError: if a file is missing or damaged.
    """

    def __init__(
        self, folder: Path, numbers: Sequence[int], family: IterativeFamily, max_pairs: int, seed: int
    ) -> None:
        self.folder, self.numbers, self.seed = folder, list(numbers), seed
        self.path, self.space = family.path, family.space
        teaching = load_json(folder / ABOUT)["teaching"]
        self.times = [t for t, _ in time_grid(int(teaching["steps"]), 1.0)] + [0.0]
        lengths = [len(self.read(number)["y_residue"]) for number in self.numbers]
        self.buckets = LengthBuckets(np.array(lengths), max_pairs, seed)
        self.per_epoch = len(self.buckets.epoch(0))

    def read(self, number: int) -> dict[str, Tensor]:
        """The tensors of a way."""
        return load_tensors(path_of(self.folder, number))

    def __call__(self, step: int) -> Batch:
        """Batch number `step`, from 0."""
        epoch, place = divmod(step, self.per_epoch)
        batches = self.buckets.epoch(epoch)
        rows = batches[place % len(batches)]
        rng = np.random.default_rng([self.seed, 1, step])
        steps = len(self.times) - 1
        places = rng.permutation(((np.arange(len(rows)) + rng.random()) / len(rows) * steps).astype(int) % steps)
        found = [self.jump(self.numbers[row], int(place)) for row, place in zip(rows, places, strict=True)]
        masks = [torch.ones(1, y.residue.shape[1], dtype=torch.bool) for y, _ in found]
        cond, mask = padded([y for y, _ in found], masks)
        length = mask.shape[1]
        arrays = {
            name: torch.cat([widened(own[name], length, 1) if own[name].ndim > 1 else own[name] for _, own in found])
            for name in found[0][1]
        }
        arrays |= {"y_residue": cond.residue, "y_globals": cond.globals}
        return Batch(arrays | ({} if cond.pair is None else {"y_pair": cond.pair}), mask)

    def jump(self, number: int, place: int) -> tuple[Conditioning, dict[str, Tensor]]:
        """y and the fields of one jump of a way, a batch of one.

        Args:
            number: of the way.
            place: of the jump, from 0 at noise.
        """
        way = self.read(number)
        pair = way.get("y_pair")
        cond = Conditioning(
            way["y_residue"][None], way["y_globals"][None], None if pair is None else pair[None].float()
        )
        found = {"t": torch.tensor([self.times[place]]), "first": torch.tensor([place == 0])}
        aim, guess = self.aim(way, place), self.aim(way, max(place - 1, 0))
        for name in self.space.manifolds:
            found |= {
                f"x_{name}": way[f"x_{name}"][place][None],
                f"aim_{name}": aim[name],
                f"guess_{name}": guess[name],
            }
        return cond, found

    def aim(self, way: dict[str, Tensor], place: int) -> State:
        """The prediction that a jump of a way needs."""
        x_t, x_s = (self.point(way, place + k) for k in (0, 1))
        t, s = self.times[place], self.times[place + 1]
        return aim_of(self.path, self.space, x_t, x_s, t, s, Euler().rotation_rate)

    def point(self, way: dict[str, Tensor], place: int) -> State:
        """A point of a way, a batch of one."""
        mask = torch.ones(1, len(way["y_residue"]), dtype=torch.bool)
        return State({name: way[f"x_{name}"][place][None] for name in self.space.manifolds}, mask)
