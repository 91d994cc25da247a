"""timm's newer grammar of RandAugment, its operations beyond magnitude 10, and 3-Augment."""

from __future__ import annotations

from itertools import product
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from reference import inputs_augment as inputs
from reference import inputs_policy
from reference.inputs_transform import picture
from reference.packing import checksum, pack
from reference.sampled import sample
from reference.scripted import Script
from timm.data import auto_augment, create_transform, transforms
from torchvision.transforms import ColorJitter, InterpolationMode, RandomCrop, RandomHorizontalFlip, Resize
from torchvision.transforms import functional as F

TIMM = "1.0.31"


def make() -> dict[str, np.ndarray]:
    made = {"grammar": pack({text: parsed(text) for text in inputs_policy.TEXTS})}
    made["refused"] = pack([text for text in inputs_policy.REFUSED if parsed(text) is None])
    made |= beyond() | colourless() | three_augment() | simple_crop()
    for number, policy in enumerate(inputs_policy.SAMPLED):
        made |= sample(f"policy.{number}", transform(policy), inputs_policy.SAMPLES)
    return made


def transform(text: str) -> Any:
    return auto_augment.rand_augment_transform(text, {"img_mean": inputs.FILL})


def parsed(text: str) -> dict[str, Any] | None:
    """What timm makes of a policy; None if it raises."""
    try:
        policy = transform(text)
    except (AssertionError, ValueError):
        return None
    first = policy.ops[0]
    return {
        "operations": [operation.name for operation in policy.ops],
        "layers": policy.num_layers,
        "magnitude": first.magnitude,
        "probability": first.prob,
        "magnitude_std": first.magnitude_std,
        "magnitude_max": first.magnitude_max,
        "weights": None if policy.choice_weights is None else list(policy.choice_weights),
    }


def applied(name: str, level: float, sign: int) -> np.ndarray:
    """Checksums of the pictures."""
    hparams = {"img_mean": inputs.FILL, "interpolation": Image.Resampling.BICUBIC, "magnitude_max": inputs_policy.MOST}
    operation = auto_augment.AugmentOp(name, prob=1.0, magnitude=level, hparams=hparams)
    with mock.patch.object(auto_augment.random, "random", lambda: 0.75 if sign < 0 else 0.25):
        return np.concatenate([checksum([np.asarray(operation(Image.fromarray(image)))]) for image in inputs.pictures()])


def beyond() -> dict[str, np.ndarray]:
    """Checksums uint32 [plain and increasing operation, level above 10 and sign; picture]."""
    names = [*auto_augment._RAND_TRANSFORMS, *auto_augment._RAND_INCREASING_TRANSFORMS]
    crcs = [applied(*row) for row in product(names, inputs_policy.LEVELS, inputs.SIGNS)]
    return {"beyond": np.array(crcs), "beyond.inputs": checksum(inputs.pictures())}


def colourless() -> dict[str, np.ndarray]:
    """The operations that only 3-Augment's sets have: checksums uint32 [operation and level; picture]."""
    levels = (*inputs.LEVELS, *inputs_policy.LEVELS)
    return {"colourless": np.array([applied(*row, 1) for row in product(("Desaturate", "GaussianBlur"), levels)])}


def three_augment() -> dict[str, np.ndarray]:
    """Checksums of whole images: timm's policy 3a, and facebookresearch/deit's parts in its order."""
    image = Image.fromarray(picture(90, 120))
    timm, fb = [], []
    for number in range(inputs.IMAGES):
        drawn = inputs.draws(number)
        jitter = ColorJitter(inputs.JITTER, inputs.JITTER, inputs.JITTER)
        factors = [
            Script([u]).uniform(*limits)
            for u, limits in zip(drawn.factors, (jitter.brightness, jitter.contrast, jitter.saturation), strict=True)
        ]
        chosen = int(3 * drawn.choices[0])
        script = Script([*drawn.crop, drawn.choices[0], *([drawn.radius] if chosen == 2 else [])])
        train = create_transform(
            inputs.SIDE,
            is_training=True,
            use_prefetcher=True,  # leaves uint8
            scale=inputs.SCALE,
            ratio=inputs.RATIO,
            interpolation="bicubic",
            auto_augment="3a",
            color_jitter=inputs.JITTER,
        )
        with (
            mock.patch.object(transforms, "random", script),
            mock.patch.object(auto_augment, "random", script),
            mock.patch.object(RandomHorizontalFlip, "forward", lambda _, x, drawn=drawn: flipped(x, drawn)),
            mock.patch.object(
                ColorJitter, "get_params", lambda *_, order=drawn.order, factors=factors: ([*order, 3], *factors, None)
            ),
        ):
            timm.append(checksum([np.ascontiguousarray(train(image).numpy().transpose(1, 2, 0))])[0])
        assert script.spent()

        with mock.patch.object(transforms, "random", Script(drawn.crop)):
            box = transforms.RandomResizedCropAndInterpolation.get_params(image, inputs.SCALE, inputs.RATIO)
        cut = flipped(F.resized_crop(image, *box, [inputs.SIDE] * 2, F.InterpolationMode.BICUBIC), drawn)
        strong = (
            ImageOps.solarize,
            lambda x: F.rgb_to_grayscale(x, 3),
            lambda x, drawn=drawn: x.filter(ImageFilter.GaussianBlur(Script([drawn.radius]).uniform(0.1, 2.0))),
        )[chosen](cut)
        for part in drawn.order:
            strong = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation)[part](strong, factors[part])
        fb.append(checksum([np.asarray(strong)])[0])
    given = checksum([picture(90, 120), *(array for number in range(inputs.IMAGES) for array in inputs.draws(number).inputs)])
    return {"3a.timm": np.array(timm), "3a.fb": np.array(fb), "3a.inputs": given}


def simple_crop() -> dict[str, np.ndarray]:
    """Checksums of images of facebookresearch/deit's --src before 3-Augment, from torchvision's parts: [shape, image]."""
    crcs = []
    for shape in inputs_policy.CROPPED:
        image = Resize(inputs.SIDE, InterpolationMode.BICUBIC)(Image.fromarray(picture(*shape)))
        for number in range(inputs.IMAGES):
            drawn = inputs.draws(number)
            script = Script(drawn.crop[:2])

            def corner(padded: Image.Image, size: tuple[int, int], script: Script = script) -> tuple[int, int, int, int]:
                width, height = padded.size
                return script.integers(height - size[0] + 1), script.integers(width - size[1] + 1), *size

            with mock.patch.object(RandomCrop, "get_params", staticmethod(corner)):
                cut = RandomCrop(inputs.SIDE, padding=4, padding_mode="reflect")(image)
            crcs.append(checksum([np.asarray(flipped(cut, drawn))])[0])
    return {"src": np.reshape(crcs, (-1, inputs.IMAGES))}


def flipped(image: Image.Image, drawn: inputs.Draws) -> Image.Image:
    return F.hflip(image) if drawn.flip < 0.5 else image
