"""Everything that decides the outcome of a training, as plain data that can be written down and read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

import torch

from engine.numeric import fast
from engine.train.batches import Scope
from engine.train.masking import FAMILY, LATE, Masking, Ratio
from engine.train.objective import Weighing
from engine.train.optimiser import Rule

WHOLE_RATE, ADAPTER_RATE = 1e-5, 2e-4
"""Peak rates for a fine-tune of every weight, and of low-rank pairs."""


class Stage(StrEnum):
    """The stages of a run, in their order: causal, with block diffusion, guarded amid denoising, the drafter."""

    CAUSAL = "ar"
    JOINT = "joint"
    SETTLE = "settle"
    DRAFTER = "drafter"


class Precision(StrEnum):
    """What products are computed in; weights, their moments and the losses stay in float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"

    @classmethod
    def of_machine(cls, device: torch.device) -> Precision:
        """bfloat16 where the device multiplies it natively."""
        native = torch.cuda.is_bf16_supported() if device.type == "cuda" else fast().dtype is torch.bfloat16
        return cls.BFLOAT16 if native else cls.FLOAT32

    def cast(self, device: torch.device) -> torch.autocast:
        """The context in which a forward pass runs."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self is Precision.BFLOAT16)


class Decay(StrEnum):
    """How the learning rate falls after its warm-up: along a cosine to 2 % of the peak, or late and linearly to 10 %.

    The second is the family's own (warm-up, stable, decay), for which the last fifth of the steps is the decay.
    """

    COSINE = "cosine"
    LATE = "late"

    def share(self, step: int, steps: int) -> float:
        """The share of the peak at `step` of `steps`, the first being 0; the warm-up scales with short runs."""
        warmup = max(1, min(100, steps // 10))
        if step < warmup:
            return (step + 1) / warmup
        done = (step - warmup) / max(1, steps - warmup)
        if self is Decay.COSINE:
            return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
        return 1.0 - 0.9 * max(0.0, (done - 0.8) / 0.2)


_FROM_ONE = frozenset({"batch", "copies", "places", "save_every"})
"""What there is at least one of; of other numbers of a recipe there may be none."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Steps are optimiser steps of `batch` conversations; the defaults are those of the tiny checkpoint."""

    causal_steps: int = 500
    joint_steps: int = 1500
    settle_steps: int = 0
    drafter_steps: int = 0
    batch: int = 48
    peak_rate: float = 3e-3
    joint_rate: float = 3e-3
    settle_rate: float = 1.5e-3
    drafter_rate: float = 2e-3
    seed: int = 1
    scope: Scope = Scope.ANSWERS
    """Of next tokens, in every stage but the drafter's."""
    masking: Masking = field(default_factory=Masking)
    copies: int = 2
    """How often a row of the joint stage is corrupted: its prompt, most of the cost, is then computed once for all of them."""
    weighing: Weighing = Weighing.BALANCED
    decay: Decay = Decay.COSINE
    rule: Rule = Rule.MUON
    blocks: tuple[int, ...] = (16, 16, 16, 8, 32)
    """Block lengths; every step draws one."""
    precision: Precision = Precision.FLOAT32
    places: int = 6144
    """Most places of one forward pass; gradients are added until the step's batch is through."""
    recompute: bool = False
    """Whether activations are computed again in the backward pass: a third more time for a fraction of the memory."""
    save_every: int = 250

    @classmethod
    def fine_tune(cls, rate: float) -> Recipe:
        """The published objective, noise and block length, for a checkpoint that can already do much."""
        return cls(
            causal_steps=0,
            joint_steps=200,
            batch=16,
            peak_rate=rate,
            joint_rate=rate,
            drafter_rate=ADAPTER_RATE,
            masking=FAMILY,
            copies=1,
            weighing=Weighing.FAMILY,
            decay=Decay.LATE,
            rule=Rule.ADAMW,
            blocks=(32,),
        )

    def steps(self, stage: Stage) -> int:
        """Optimiser steps of a stage."""
        return {
            Stage.CAUSAL: self.causal_steps,
            Stage.JOINT: self.joint_steps,
            Stage.SETTLE: self.settle_steps,
            Stage.DRAFTER: self.drafter_steps,
        }[stage]

    def rate(self, stage: Stage, step: int) -> float:
        """The learning rate of a step; it falls once over the first two stages together, and again over each that follows."""
        peak = {
            Stage.CAUSAL: self.peak_rate,
            Stage.JOINT: self.joint_rate,
            Stage.SETTLE: self.settle_rate,
            Stage.DRAFTER: self.drafter_rate,
        }[stage]
        if stage in (Stage.CAUSAL, Stage.JOINT):
            return peak * self.decay.share(self.first(stage) + step, self.first(Stage.SETTLE))
        return peak * self.decay.share(step, self.steps(stage))

    def noise(self, stage: Stage) -> Masking:
        """How a stage corrupts blocks."""
        return LATE if stage is Stage.SETTLE else self.masking

    def weighs(self, stage: Stage) -> Weighing:
        """How a stage makes one loss of two."""
        return Weighing.GUARDED if stage is Stage.SETTLE else self.weighing

    def first(self, stage: Stage) -> int:
        """How many steps the stages before this one have; data goes on from there."""
        return sum(self.steps(each) for each in tuple(Stage)[: tuple(Stage).index(stage)])

    def fitted(self, minutes: float, seconds: Mapping[Stage, float]) -> Recipe:
        """The same shape of run in `minutes`, given the seconds that a step of each stage takes: at least a step each."""
        whole = sum(self.steps(stage) * seconds.get(stage, 0.0) for stage in Stage)
        scale = minutes * 60 / max(whole, 1e-9)
        steps = (max(1, int(steps * scale)) if steps else 0 for steps in map(self.steps, Stage))
        causal, joint, settle, drafter = steps
        return replace(self, causal_steps=causal, joint_steps=joint, settle_steps=settle, drafter_steps=drafter)

    def options(self) -> str:
        """The options of `palimpsest train` that ask for this again, from scratch; its defaults are left out."""
        steps = " ".join(f"--{stage.name.lower()}-steps {self.steps(stage)}" for stage in Stage)
        usual = f"--scope {self.scope} {steps} --batch {self.batch} --seed {self.seed} --precision {self.precision}"
        default = Recipe()
        others = {
            f"--rate {self.peak_rate!r}": self.peak_rate != default.peak_rate,
            f"--weighing {self.weighing}": self.weighing is not default.weighing,
            f"--places {self.places}": self.places != default.places,
            "--recompute": self.recompute,
        }
        return " ".join([usual, *(option for option, given in others.items() if given)])

    def document(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Recipe:
        """What `document` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        masking = Masking(**document["masking"] | {"ratio": Ratio(document["masking"]["ratio"])})
        known = {
            "masking": masking,
            "weighing": Weighing(document["weighing"]),
            "decay": Decay(document["decay"]),
            "rule": Rule(document["rule"]),
            "scope": Scope(document["scope"]),
            "precision": Precision(document["precision"]),
            "blocks": tuple(document["blocks"]),
        }
        recipe = cls(**{**document, **known})
        require_sound(recipe, cls())
        require_sound(masking, Masking())
        if not recipe.blocks or any(type(length) is not int or length < 1 for length in recipe.blocks):
            raise ValueError(f"blocks are {recipe.blocks!r}")
        return recipe


def require_sound(told: Any, like: Any) -> None:
    """Raises ValueError where a field is not of the type that it has in `like`, or is no number that a training can go by."""
    for each in fields(told):
        value, usual = getattr(told, each.name), getattr(like, each.name)
        kinds = (int, float) if type(usual) is float else (type(usual),)
        number = type(usual) in (int, float)
        if type(value) not in kinds or (number and not (each.name in _FROM_ONE) <= value < math.inf):
            raise ValueError(f"{each.name} is {value!r}")
