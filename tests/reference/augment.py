"""timm's training transform as facebookresearch/deit uses it: operations, boxes, whole images, samples of its draws."""

from __future__ import annotations

import random
from itertools import product
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from PIL import Image
from reference import inputs_augment as inputs
from reference import inputs_policy
from reference.inputs_transform import picture
from reference.packing import checksum, pack
from reference.sampled import sample
from reference.scripted import Script, instead_of_numpy
from timm.data import auto_augment, create_transform, random_erasing, transforms
from torchvision.transforms import ColorJitter
from torchvision.transforms import functional as F

TIMM = "0.3.2"
RESAMPLING = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}
ENHANCEMENTS = ("Color", "Contrast", "Brightness", "Sharpness")
SIGNED = ("Rotate", "Shear", "Translate", *(f"{name}Increasing" for name in ENHANCEMENTS))
POLICIES = ("rand-m9-mstd0.5-inc1", "rand-m7-n4-mstd1.5-w0")
SAMPLES = 10_000


def make() -> dict[str, np.ndarray]:
    made = {"operations": operations(), "operations.inputs": checksum(inputs.pictures())}
    made["operations.names"] = pack([auto_augment._RAND_TRANSFORMS, auto_augment._RAND_INCREASING_TRANSFORMS])
    made["arguments"] = arguments()
    made["grammar"] = pack(grammar())
    made |= enhancements() | crops() | erasing() | whole()
    for number, policy in enumerate(POLICIES):
        made |= sample(f"policy.{number}", auto_augment.rand_augment_transform(policy, {"img_mean": inputs.FILL}), SAMPLES)
    return made


def all_operations(increasing: bool) -> list[str]:
    return auto_augment._RAND_INCREASING_TRANSFORMS if increasing else auto_augment._RAND_TRANSFORMS


def negating(sign: int) -> mock._patch:
    """timm's coin shows this sign."""
    return mock.patch.object(auto_augment.random, "random", lambda: 0.75 if sign < 0 else 0.25)


def grid() -> list[tuple[str, float, int]]:
    """Name, level, sign: plain and increasing operations, every level, both signs."""
    names = [*all_operations(False), *all_operations(True)]
    return list(product(names, inputs.LEVELS, inputs.SIGNS))


def operations() -> np.ndarray:
    """Checksums uint32 [operation, level and sign; interpolation; picture]."""
    pictures = [Image.fromarray(image) for image in inputs.pictures()]

    def crcs(name: str, level: float, sign: int, interpolation: str) -> list[int]:
        hparams = {"img_mean": inputs.FILL, "interpolation": RESAMPLING[interpolation]}
        operation = auto_augment.AugmentOp(name, prob=1.0, magnitude=level, hparams=hparams)
        with negating(sign):
            return [checksum([np.asarray(operation(image))])[0] for image in pictures]

    return np.array([[crcs(*row, interpolation) for interpolation in inputs.INTERPOLATIONS] for row in grid()])


def arguments() -> np.ndarray:
    """float64 [operation, level and sign]; 0 for operations without an argument."""

    def one(name: str, level: float, sign: int) -> float:
        function = auto_augment.LEVEL_TO_ARG[name]
        with negating(sign):
            return function(level, {})[0] if function else 0.0

    return np.array([one(*row) for row in grid()])


def enhancements() -> dict[str, np.ndarray]:
    """torchvision's parts of the colour jitter at given factors: checksums uint32 [part, factor, picture]."""
    parts = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)
    pictures = [Image.fromarray(image) for image in inputs.pictures()]
    crcs = [
        [[checksum([np.asarray(part(image, factor))])[0] for image in pictures] for factor in inputs.FACTORS] for part in parts
    ]
    return {"enhancements": np.array(crcs, np.uint32)}


def crops() -> dict[str, np.ndarray]:
    made, drawn = {}, transforms.RandomResizedCropAndInterpolation.get_params
    for name, (scale, ratio) in inputs.CROPS.items():
        boxes = []
        for height, width in inputs.CROPPED:
            for number in range(inputs.BOXES):
                with mock.patch.object(transforms, "random", Script(inputs.uniform("crop", number))):
                    boxes.append(drawn(SimpleNamespace(size=(width, height)), scale, ratio))
        made[f"crops.{name}"] = np.array(boxes, np.int16)
    made["crops.inputs"] = checksum(inputs.uniform("crop", number) for number in range(inputs.BOXES))
    random.seed(inputs.SEED)
    image = SimpleNamespace(size=(500, 375))
    made["crops.sample"] = np.array([drawn(image, *inputs.CROPS["ImageNet"]) for _ in range(SAMPLES)], np.int16)
    return made


class Erased:
    """Stands for an image that is erased, and keeps where."""

    def __init__(self) -> None:
        self.boxes: list[tuple[int, int, int, int]] = []

    def __setitem__(self, place: tuple[slice, slice, slice], _: torch.Tensor) -> None:
        _, rows, columns = place
        self.boxes.append((rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start))


def erased(side: int, most: int, probability: float) -> np.ndarray:
    """int16 [most, 4]: top, left, height, width; zeros where there is no box."""
    image, boxes = Erased(), np.zeros((most, 4), np.int16)
    erasing = random_erasing.RandomErasing(probability, mode="pixel", max_count=most, device="cpu")
    erasing._erase(image, 3, side, side, torch.float32)
    boxes[: len(image.boxes)] = np.reshape(image.boxes, (-1, 4))
    return boxes


def erasing() -> dict[str, np.ndarray]:
    made = {}
    for side, most in inputs.ERASED:
        boxes = []
        for number in range(inputs.BOXES):
            with mock.patch.object(random_erasing, "random", Script(inputs.uniform("erasing", number))):
                boxes.append(erased(side, most, 0.8))
        made[f"erasing.{side}.{most}"] = np.stack(boxes)
    made["erasing.inputs"] = checksum(inputs.uniform("erasing", number) for number in range(inputs.BOXES))
    random.seed(inputs.SEED)
    made["erasing.sample"] = np.stack([erased(224, 1, 1.0)[0] for _ in range(SAMPLES)])
    counts = [int(erased(224, 3, 0.25).any(1).sum()) for _ in range(SAMPLES)]
    made["erasing.counts"] = np.bincount(counts, minlength=4)
    return made


def whole() -> dict[str, np.ndarray]:
    """Checksums of images that went through crop, flip, and RandAugment or colour jitter."""
    image, made = Image.fromarray(picture(90, 120)), {}
    for name, policy in (("randaugment", POLICIES[0]), ("jitter", None)):
        crcs = []
        for number in range(inputs.IMAGES):
            transform = create_transform(
                inputs.SIDE,
                is_training=True,
                use_prefetcher=True,  # leaves uint8
                scale=inputs.SCALE,
                ratio=inputs.RATIO,
                interpolation="bicubic",
                auto_augment=policy,
                color_jitter=inputs.JITTER,
            )
            drawn = inputs.draws(number)
            script = Script([*drawn.crop, drawn.flip, *(randaugment(drawn) if policy else [])], normal=deviations(drawn))
            with (
                instead_of_numpy(script),
                mock.patch.object(transforms, "random", script),
                mock.patch.object(auto_augment, "random", script),
                mock.patch.object(torch, "rand", lambda _, script=script: script.random()),
                mock.patch.object(ColorJitter, "get_params", lambda *ranges, drawn=drawn: jitter(drawn, ranges[-4:])),
            ):
                crcs.append(checksum([np.ascontiguousarray(transform(image).transpose(1, 2, 0))])[0])
            assert policy is None or script.spent()
        made[f"whole.{name}"] = np.array(crcs)
    made["whole.inputs"] = checksum(
        [picture(90, 120), *(array for number in range(inputs.IMAGES) for array in inputs.draws(number).inputs)]
    )
    return made


def randaugment(drawn: inputs.Draws) -> list[float]:
    """Uniform numbers in timm's order: which operations; then for each whether it is skipped, and a sign if it has one."""
    names = auto_augment._RAND_INCREASING_TRANSFORMS
    numbers = list(drawn.choices)
    for choice, applied, negative in zip(drawn.choices, drawn.applied, drawn.negative, strict=True):
        numbers.append(applied)
        if applied < 0.5 and names[int(choice * len(names))].startswith(SIGNED):
            numbers.append(0.75 if negative else 0.25)
    return numbers


def deviations(drawn: inputs.Draws) -> list[float]:
    return [value for value, applied in zip(drawn.deviation, drawn.applied, strict=True) if applied < 0.5]


def jitter(drawn: inputs.Draws, ranges: tuple) -> tuple:
    """What torchvision's ColorJitter draws: an order of the four parts, hue last, and a factor for each."""
    factors = [Script([u]).uniform(*limits) for u, limits in zip(drawn.factors, ranges[:3], strict=True)]
    return [*drawn.order, 3], *factors, None


def grammar() -> dict[str, dict]:
    """What timm 0.3.2 makes of policies."""
    made = {}
    for text in inputs_policy.OLD_TEXTS:
        policy = auto_augment.rand_augment_transform(text, {"img_mean": inputs.FILL})
        first = policy.ops[0]
        made[text] = {
            "operations": all_operations("inc1" in text),
            "layers": policy.num_layers,
            "magnitude": first.magnitude,
            "probability": first.prob,
            "magnitude_std": first.magnitude_std,
            "magnitude_max": None,
            "weights": None if policy.choice_weights is None else list(policy.choice_weights),
        }
        functions = [auto_augment.NAME_TO_OP[name] for name in made[text]["operations"]]
        assert [operation.aug_fn for operation in policy.ops] == functions
    return made
