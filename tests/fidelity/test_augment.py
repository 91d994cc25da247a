"""The training transform against timm's: operations, policies, boxes and whole images, given draws and in distribution."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from distributions import kolmogorov_smirnov, shares
from fidelity import load, worst
from reference import inputs_augment as inputs
from reference import inputs_policy
from reference.inputs_transform import picture
from reference.packing import checksum, unpack
from reference.scripted import Script

from deit.config.schema import AugmentConfig, RunConfig
from deit.data.crop import random_box
from deit.data.erasing import draw_boxes
from deit.data.operations import Operation, argument
from deit.data.ops_pil import PilOps
from deit.data.policy import parse_policy
from deit.data.randaugment import OPERATIONS, RandAugment, parse_randaugment
from deit.data.transform import TrainTransform
from deit.errors import UserError
from deit.randomness import generator

T032 = "timm 0.3.2"
TIMM1 = "timm 1.0.31"
LIMIT = "statistic over its critical value at p = 0.001"


def applied(operation: Operation, interpolation: str = "bicubic") -> np.ndarray:
    """Checksums of the pictures after an operation in Pillow."""
    ops = PilOps(interpolation, inputs.FILL)
    return np.array([checksum([ops.finish(ops.apply(ops.start(image), operation))])[0] for image in inputs.pictures()])


def renamed(name: str, increasing: bool) -> str:
    """timm's name of an operation."""
    if name.startswith("Translate"):
        return f"{name}Rel"
    grows = name in ("Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness")
    return f"{name}Increasing" if increasing and grows else name


def test_operations(fidelity: Callable[..., None]) -> None:
    stored = load("augment")
    assert checksum(inputs.pictures()) == stored["operations.inputs"]
    assert [[renamed(name, inc) for name in OPERATIONS] for inc in (False, True)] == unpack(stored["operations.names"])
    drawn = [
        Operation(name, argument(name, level, sign, increasing))
        for increasing, name, level, sign in product((False, True), OPERATIONS, inputs.LEVELS, inputs.SIGNS)
    ]
    fidelity(
        "Arguments of the 15 operations of RandAugment at levels 0 to 10, both signs, inc0 and inc1",
        section="Augmentation",
        reference=f"{T032} LEVEL_TO_ARG",
        tolerance=1e-12,
        measured=worst(np.array([operation.argument for operation in drawn]), stored["arguments"]),
    )
    ours = np.array([[applied(operation, interpolation) for interpolation in inputs.INTERPOLATIONS] for operation in drawn])
    assert ours.shape == stored["operations"].shape
    fidelity(
        f"Pixels of the 15 operations at these levels, bicubic and bilinear, augment.backend=pil: {ours.size:,} images",
        section="Augmentation",
        reference=f"{T032} AugmentOp",
        tolerance=0,
        measured=int((ours != stored["operations"]).sum()),
        unit="images differ",
    )


def test_operations_beyond_level_10(fidelity: Callable[..., None]) -> None:
    stored = load("policy")
    assert checksum(inputs.pictures()) == stored["beyond.inputs"]
    grid = product((False, True), OPERATIONS, inputs_policy.LEVELS, inputs.SIGNS)
    ours = np.array([applied(Operation(name, argument(name, level, sign, inc))) for inc, name, level, sign in grid])
    assert ours.shape == stored["beyond"].shape
    fidelity(
        f"Pixels of the 15 operations at levels above 10, which mmax allows: {ours.size:,} images",
        section="Augmentation",
        reference=f"{TIMM1} AugmentOp",
        tolerance=0,
        measured=int((ours != stored["beyond"]).sum()),
        unit="images differ",
    )


def test_operations_of_3_augment(fidelity: Callable[..., None]) -> None:
    stored = load("policy")["colourless"]
    grid = product(("Desaturate", "GaussianBlur"), (*inputs.LEVELS, *inputs_policy.LEVELS))
    ours = np.array([applied(Operation(name, argument(name, level, 1, True))) for name, level in grid])
    assert ours.shape == stored.shape
    fidelity(
        f"Pixels of Desaturate and GaussianBlur at levels 0 to 30: {ours.size} images",
        section="Augmentation",
        reference=f"{TIMM1} AugmentOp",
        tolerance=0,
        measured=int((ours != stored).sum()),
        unit="images differ",
    )


def test_enhancements_of_colour_jitter(fidelity: Callable[..., None]) -> None:
    stored = load("augment")["enhancements"]
    different = [
        applied(Operation(name, factor)) != stored[i, j]
        for i, name in enumerate(("Brightness", "Contrast", "Color"))
        for j, factor in enumerate(inputs.FACTORS)
    ]
    fidelity(
        f"Pixels of colour jitter's parts at given factors: {np.size(different)} images",
        section="Augmentation",
        reference="torchvision 0.28.0 adjust_brightness, adjust_contrast, adjust_saturation",
        tolerance=0,
        measured=int(np.sum(different)),
        unit="images differ",
    )


def described(policy: RandAugment) -> dict:
    weights = None if policy.weights is None else np.array(policy.weights) / np.sum(policy.weights)
    return {
        "operations": [renamed(name, policy.increasing) for name in policy.operations],
        "layers": policy.layers,
        "magnitude": policy.magnitude,
        "probability": policy.probability,
        "magnitude_std": policy.magnitude_std,
        "magnitude_max": policy.magnitude_max,
        "weights": None if weights is None else weights.tolist(),
    }


@pytest.mark.parametrize(("subject", "reference"), [("augment", T032), ("policy", TIMM1)])
def test_grammar(subject: str, reference: str, fidelity: Callable[..., None]) -> None:
    stored = unpack(load(subject)["grammar"])
    assert list(stored) == list(inputs_policy.TEXTS if subject == "policy" else inputs_policy.OLD_TEXTS)
    different = []
    for text, theirs in stored.items():
        theirs["magnitude_max"] = theirs["magnitude_max"] or 10.0
        ours = described(parse_randaugment(text))
        if ours["weights"] is not None and theirs["weights"] is not None:
            assert ours.pop("weights") == pytest.approx(theirs.pop("weights"))
        different += [text] if ours != theirs else []
    more = {"augment": "w", "policy": "mmax, p, t"}[subject]
    fidelity(
        f"What a policy's text means: {len(stored)} texts with m, n, mstd, inc, {more}",
        section="Augmentation",
        reference=f"{reference} rand_augment_transform",
        tolerance=0,
        measured=len(different),
        unit="texts differ",
    )


def test_what_timm_refuses_is_refused() -> None:
    assert unpack(load("policy")["refused"]) == list(inputs_policy.REFUSED)
    for text in inputs_policy.REFUSED:
        if text != "rand-w0":  # timm 0.3.2's
            with pytest.raises(UserError):
                parse_policy(text)


def all_policies() -> list[tuple[str, str, str]]:
    """Subject, key and text of each policy that was sampled."""
    sampled = {"augment": ("rand-m9-mstd0.5-inc1", "rand-m7-n4-mstd1.5-w0"), "policy": inputs_policy.SAMPLED}
    return [(subject, f"policy.{i}", text) for subject, texts in sampled.items() for i, text in enumerate(texts)]


@pytest.mark.parametrize(("subject", "key", "text"), all_policies())
def test_distribution_of_policies(subject: str, key: str, text: str, fidelity: Callable[..., None]) -> None:
    stored = load(subject)
    layers, operations, arguments = (stored[f"{key}.{part}"] for part in ("layers", "operations", "arguments"))
    policy = parse_randaugment(text)
    images = [policy.draw(generator(1, "augment", 0, number, 0)) for number in range(layers.sum())]
    drawn = [operation for image in images for operation in image]
    numbers = np.array([policy.operations.index(operation.name) for operation in drawn])
    ours = np.array([operation.argument for operation in drawn], np.float32)
    count = len(policy.operations)
    ratios = [
        np.divide(*shares(np.bincount([len(image) for image in images], minlength=len(layers)), layers)),
        np.divide(*shares(np.bincount(numbers, minlength=count), np.bincount(operations, minlength=count))),
    ]
    for number in np.unique(operations):
        ratios.append(np.divide(*kolmogorov_smirnov(ours[numbers == number], arguments[operations == number])))
    fidelity(
        f"Draws of {text}, {layers.sum():,} images: operations an image, which, and the argument of each; {LIMIT}",
        section="Augmentation",
        reference=f"{T032 if subject == 'augment' else TIMM1} RandAugment",
        tolerance=1,
        measured=float(np.max(ratios)),
    )


def test_crops_of_given_draws(fidelity: Callable[..., None]) -> None:
    stored = load("augment")
    streams = [inputs.uniform("crop", number) for number in range(inputs.BOXES)]
    assert checksum(streams) == stored["crops.inputs"]
    different = 0
    for name, (scale, ratio) in inputs.CROPS.items():
        boxes = [random_box(Script(u), *shape, list(scale), list(ratio)) for shape in inputs.CROPPED for u in streams]
        different += int((np.array(boxes) != stored[f"crops.{name}"]).any(1).sum())
    fidelity(
        f"Random crops of given draws, central ones where none fits: {len(inputs.CROPS) * len(boxes)} boxes",
        section="Augmentation",
        reference=f"{T032} RandomResizedCropAndInterpolation.get_params",
        tolerance=0,
        measured=different,
        unit="boxes differ",
    )


def test_erasing_of_given_draws(fidelity: Callable[..., None]) -> None:
    stored = load("augment")
    streams = [inputs.uniform("erasing", number) for number in range(inputs.BOXES)]
    assert checksum(streams) == stored["erasing.inputs"]
    different = 0
    for side, most in inputs.ERASED:
        boxes = np.array([draw_boxes(Script(u), (side, side), 0.8, most) for u in streams])
        assert boxes.any() and not boxes.any((1, 2)).all()  # some images are left alone
        different += int((boxes != stored[f"erasing.{side}.{most}"]).any((1, 2)).sum())
    fidelity(
        f"Random erasing of given draws, one box and up to three: {len(inputs.ERASED) * inputs.BOXES} images",
        section="Augmentation",
        reference=f"{T032} RandomErasing",
        tolerance=0,
        measured=different,
        unit="images differ",
    )


def edges(boxes: np.ndarray) -> dict[str, np.ndarray]:
    top, left, height, width = boxes.astype(np.float64).T
    return {"top": top, "left": left, "area": height * width, "aspect": height / width}


def test_distribution_of_boxes(fidelity: Callable[..., None]) -> None:
    stored, count = load("augment"), 10_000
    scale, ratio = inputs.CROPS["ImageNet"]
    crops = np.array([random_box(generator(1, "crop", i), 375, 500, list(scale), list(ratio)) for i in range(count)])
    erased = np.array([draw_boxes(generator(1, "erasing", i), (224, 224), 1.0, 1)[0] for i in range(count)])
    several = [int(draw_boxes(generator(1, "several", i), (224, 224), 0.25, 3).any(1).sum()) for i in range(count)]
    for what, boxes, reference in (("Random crops", crops, "crops"), ("Erased boxes", erased, "erasing")):
        theirs = edges(stored[f"{reference}.sample"])
        ratios = [np.divide(*kolmogorov_smirnov(ours, theirs[edge])) for edge, ours in edges(boxes).items()]
        fidelity(
            f"{what}, {count:,}: top, left, area, aspect; Kolmogorov-Smirnov {LIMIT}",
            section="Augmentation",
            reference=T032,
            tolerance=1,
            measured=max(ratios),
        )
    fidelity(
        f"How many boxes are erased, up to three, {count:,} images; chi-squared {LIMIT}",
        section="Augmentation",
        reference=T032,
        tolerance=1,
        measured=float(np.divide(*shares(np.bincount(several, minlength=4), stored["erasing.counts"]))),
    )


def transform(policy: str | None) -> TrainTransform:
    config = RunConfig()
    config.model.img_size = inputs.SIDE
    config.data.interpolation, config.data.mean = "bicubic", [0.485, 0.456, 0.406]
    config.augment = AugmentConfig(
        backend="pil",
        scale=list(inputs.SCALE),
        ratio=list(inputs.RATIO),
        hflip=0.5,
        color_jitter=inputs.JITTER,
        auto_augment=policy,
    )
    return TrainTransform(config)


def randaugment(drawn: inputs.Draws) -> Script:
    """Which operations; then for each whether it is applied, and its sign."""
    numbers = list(drawn.choices)
    for applied_at, negative in zip(drawn.applied, drawn.negative, strict=True):
        numbers += [applied_at, 0.25 if negative else 0.75] if applied_at < 0.5 else [applied_at]
    return Script([*drawn.crop, drawn.flip, *numbers], normal=drawn.deviation[drawn.applied < 0.5])


def jitter(drawn: inputs.Draws) -> list[float]:
    """Keys whose order is that of the three factors, then these in that order."""
    return [*np.argsort(drawn.order) / 3, *drawn.factors[drawn.order]]


def jitter_alone(drawn: inputs.Draws) -> Script:
    return Script([*drawn.crop, drawn.flip, *jitter(drawn)])


def three_augment(drawn: inputs.Draws) -> Script:
    radius = [drawn.radius] if int(3 * drawn.choices[0]) == 2 else []
    return Script([*drawn.crop, drawn.flip, drawn.choices[0], *radius, *jitter(drawn)])


@pytest.mark.parametrize(
    ("policy", "script", "subject", "key", "reference"),
    [
        ("rand-m9-mstd0.5-inc1", randaugment, "augment", "whole.randaugment", f"{T032} create_transform"),
        (None, jitter_alone, "augment", "whole.jitter", f"{T032} create_transform"),
        ("3a", three_augment, "policy", "3a.timm", f"{TIMM1} create_transform"),
        ("3a", three_augment, "policy", "3a.fb", "FB new_data_aug_generator, from its parts in torchvision 0.28.0 and Pillow"),
    ],
    ids=["randaugment", "jitter", "3a.timm", "3a.fb"],
)
def test_whole_images(
    policy: str | None,
    script: Callable[[inputs.Draws], Script],
    subject: str,
    key: str,
    reference: str,
    fidelity: Callable[..., None],
) -> None:
    stored, image, train = load(subject), picture(90, 120), transform(policy)
    draws = [inputs.draws(number) for number in range(inputs.IMAGES)]
    given = checksum([image, *(array for drawn in draws for array in drawn.inputs)])
    assert given == stored["whole.inputs" if subject == "augment" else "3a.inputs"]
    different = 0
    for drawn, crc in zip(draws, stored[key], strict=True):
        numbers = script(drawn)
        different += int(checksum([train(image, numbers)])[0] != crc)
        assert numbers.spent()
    what = {None: "colour jitter"}.get(policy, f"{policy} and colour jitter" if policy == "3a" else policy)
    fidelity(
        f"Training images of given draws, crop, flip and {what}, pixel for pixel{': FB' if key == '3a.fb' else ''}",
        section="Augmentation",
        reference=reference,
        tolerance=0,
        measured=different,
        unit=f"of {len(draws)} images differ",
    )


def test_distribution_of_3_augment_and_colour_jitter() -> None:
    """Three equal chances; factors even in their range, in every order. The reference draws them from torch itself."""
    train = transform("3a")
    images = [train._operations(generator(1, "augment", 0, number, 0)) for number in range(6000)]
    names, counts = np.unique([image[0].name for image in images], return_counts=True)
    assert list(names) == ["Desaturate", "GaussianBlur", "Solarize"]
    assert np.divide(*shares(counts, [10**6] * 3)) < 1
    radii = np.array([image[0].argument for image in images if image[0].name == "GaussianBlur"])
    even = (np.arange(10**5) + 0.5) / 10**5
    assert np.divide(*kolmogorov_smirnov(radii, 0.1 + 1.9 * even)) < 1
    assert {image[0].argument for image in images} - set(radii) == {128, 1.0}
    orders, counts = np.unique([" ".join(part.name for part in image[1:]) for image in images], return_counts=True)
    assert len(orders) == 6 and np.divide(*shares(counts, [10**6] * 6)) < 1
    for name in ("Brightness", "Contrast", "Color"):
        factors = np.array([part.argument for image in images for part in image[1:] if part.name == name])
        assert np.divide(*kolmogorov_smirnov(factors, 0.7 + 0.6 * even)) < 1


def test_worst_is_not_blind() -> None:
    """The comparisons above can fail: a pixel, a level or a lambda that is off is seen."""
    stored = load("augment")["operations"]
    image = inputs.pictures()[0]
    ops = PilOps("bicubic", inputs.FILL)
    turned = ops.finish(ops.apply(ops.start(image), Operation("Rotate", 9.0))).copy()
    assert checksum([turned])[0] in stored
    turned[0, 0, 0] ^= 1
    assert checksum([turned])[0] not in stored
    assert worst(np.array([1.0]), np.array([1.5])) == 0.5


def test_simple_crops(fidelity: Callable[..., None]) -> None:
    """facebookresearch/deit's --src, of pictures larger, smaller and of the size of the result."""
    stored, train = load("policy")["src"], transform(None)
    train.augment = dataclasses.replace(train.augment, crop="src", color_jitter=0.0)
    draws = [inputs.draws(number) for number in range(inputs.IMAGES)]
    ours = [
        [checksum([train(picture(*shape), Script([*drawn.crop[:2], drawn.flip]))])[0] for drawn in draws]
        for shape in inputs_policy.CROPPED
    ]
    fidelity(
        "Simple random crop and flip of given draws, augment.crop=src, pixel for pixel",
        section="Augmentation",
        reference="FB new_data_aug_generator with --src, from its parts in torchvision 0.28.0",
        tolerance=0,
        measured=int((np.array(ours) != stored).sum()),
        unit=f"of {stored.size} images differ",
    )
