"""Crops, erasing boxes, and the two complete transforms."""

import numpy as np
import pytest
from PIL import Image
from scipy.stats import kstest

from deit.config.schema import AugmentConfig, RunConfig
from deit.data.crop import Box, central_box, random_box
from deit.data.erasing import draw_boxes, noise_bank, noise_rows
from deit.data.ops_pil import PilOps
from deit.data.policy import parse_policy
from deit.data.transform import EvalTransform, FiveCrops, TrainTransform
from deit.errors import UserError
from deit.randomness import generator

INCEPTION = ([0.08, 1.0], [0.75, 4 / 3])


def settings(img_size: int | list[int] = 32, crop_pct=1.0, interpolation="bicubic", in_chans=3, **augment) -> RunConfig:
    """What the transforms read of a configuration; augmentation is off except for what is given."""
    config = RunConfig()
    config.model.img_size = img_size
    config.data.crop_pct = crop_pct
    config.data.interpolation = interpolation
    config.model.in_chans = in_chans
    config.data.mean = [0.485, 0.456, 0.406] if in_chans == 3 else [0.4]
    off = {
        "backend": "opencv",
        "scale": [1.0, 1.0],
        "ratio": [1.0, 1.0],
        "hflip": 0.0,
        "color_jitter": 0.0,
        "auto_augment": None,
    }
    config.augment = AugmentConfig(**{**off, **augment})
    return config


def waves(height, width) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([127 + 100 * np.sin(x / 17), 127 + 100 * np.cos(y / 13), 3 * (x + y) % 256], -1).astype(np.uint8)


def rng(seed=0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_random_boxes_have_the_configured_areas_and_ratios():
    generator = rng()
    boxes = np.array([random_box(generator, 375, 500, *INCEPTION) for _ in range(4000)])
    top, left, height, width = boxes.T
    assert top.min() == 0 and left.min() == 0
    assert (top + height).max() == 375 and (left + width).max() == 500
    area, ratio = height * width / (375 * 500), width / height
    assert 0.075 < area.min() < 0.09 and 0.93 < area.max() <= 1.0
    assert 0.73 < ratio.min() < 0.77 and 1.31 < ratio.max() < 1.36
    # Large boxes fit less often, so the mean is below the 0.54 of a uniform area.
    assert 0.41 < area.mean() < 0.46
    small = area < 0.4  # these always fit: log-uniform ratios are symmetric about 1
    assert abs(np.log(ratio[small]).mean()) < 0.02


@pytest.mark.parametrize(
    ("height", "width", "ratio", "box"),
    [
        (100, 400, [1.0, 1.0], Box(0, 150, 100, 100)),
        (401, 100, [1.0, 1.0], Box(150, 0, 100, 100)),
        (10, 1000, [0.75, 4 / 3], Box(0, 493, 10, 13)),
        (1000, 10, [0.75, 4 / 3], Box(493, 0, 13, 10)),
        (1, 1000, [0.1, 0.2], Box(0, 499, 1, 1)),
    ],
)
def test_crop_that_does_not_fit_uses_the_centre(height, width, ratio, box):
    assert random_box(rng(), height, width, [1.0, 1.0], ratio) == box


def test_full_scale_of_a_square_is_the_whole_image():
    assert random_box(rng(), 33, 33, [1.0, 1.0], [1.0, 1.0]) == Box(0, 0, 33, 33)


def test_central_box_rounds_as_torchvision():
    assert central_box(248, 330, (224, 224)) == Box(12, 53, 224, 224)
    assert central_box(249, 251, (224, 224)) == Box(12, 14, 224, 224)  # 12.5 and 13.5 round to even


def test_erasing_boxes():
    generator = rng(1)
    drawn = np.array([draw_boxes(generator, (224, 224), 0.25, 1) for _ in range(8000)])
    assert drawn.shape == (8000, 1, 4) and drawn.dtype == np.int32
    top, left, height, width = drawn[drawn.any(-1)].T
    assert len(top) / 8000 == pytest.approx(0.25, abs=0.02)
    area, aspect = height * width / 224**2, height / width
    assert 0.015 < area.min() < 0.03 and 0.31 < area.max() < 0.34
    assert 0.28 < aspect.min() < 0.34 and 3.0 < aspect.max() < 3.5
    assert (top + height).max() <= 224 and (left + width).max() <= 224
    assert height.max() < 224 and width.max() < 224


def test_erasing_several_boxes_shares_the_area():
    generator = rng(2)
    drawn = np.array([draw_boxes(generator, (64, 64), 1.0, 3) for _ in range(600)])
    counts = drawn.any(-1).sum(1)
    assert set(counts) == {1, 2, 3}
    three = drawn[counts == 3]
    assert (three[..., 2] * three[..., 3]).max() <= 64 * 64 / 9 * 1.1
    assert not draw_boxes(generator, (64, 64), 0.0, 3).any()


def test_erasing_noise_is_normal_and_differs_between_boxes():
    size, count = 48, 128
    bank = noise_bank(7, (size, size))
    np.testing.assert_array_equal(bank, noise_bank(7, (size, size)))
    assert not np.array_equal(bank, noise_bank(8, (size, size)))
    drawn = [noise_rows(generator(7, "augment", 2, image, 0), size) for image in range(count)]
    assert all(len(set(rows.ravel())) == 3 * size for rows in drawn)  # nothing comes twice in an image
    pixels = bank[np.array(drawn)]  # [B, 3, H, W], as the device gathers them
    assert pixels.shape == (count, 3, size, size) and pixels.dtype == np.float32
    assert kstest(pixels[:, :, 5:30, 10:40].ravel()[::7], "norm").pvalue > 0.01
    assert min(kstest(image.ravel(), "norm").pvalue for image in pixels) > 1e-4
    flat = pixels[:, :, 5:30, 10:40].reshape(count, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(count)).max() < 0.2  # of 2250 values; one in ten rows alike would be 0.1
    assert len({image.tobytes() for image in flat}) == count
    neighbours = np.corrcoef(pixels[:, :, :-1].ravel(), pixels[:, :, 1:].ravel())[0, 1]
    assert abs(neighbours) < 0.01


def test_erasing_noise_suits_any_size():
    for size in (8, 224, 8192):
        rows = noise_rows(rng(), size)
        assert rows.shape == (3, size) and rows.min() >= 0 and len(set(rows.ravel())) == 3 * size
    assert noise_rows(rng(), 224).max() < len(noise_bank(0, (224, 224))) == 1 << 14


@pytest.mark.parametrize("backend", ["opencv", "pil"])
def test_no_augmentation_resizes_the_whole_image(backend):
    transform = TrainTransform(settings(backend=backend))
    image = waves(32, 32)
    np.testing.assert_array_equal(transform(image, rng()), image)
    oblong = waves(32, 48)
    np.testing.assert_array_equal(transform(oblong, rng()), oblong[:, 8:40])
    assert transform(waves(100, 70), rng()).shape == (32, 32, 3)


def test_pil_training_is_the_steps_of_timm():
    transform = TrainTransform(settings(backend="pil", scale=[0.2, 1.0], ratio=[0.75, 1.33], hflip=1.0))
    image = waves(90, 120)
    top, left, height, width = random_box(rng(5), 90, 120, [0.2, 1.0], [0.75, 1.33])
    cut = Image.fromarray(image).crop((left, top, left + width, top + height)).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(transform(image, rng(5)), np.asarray(cut)[:, ::-1])


def test_all_drawn_operations_are_applied_in_order():
    transform = TrainTransform(settings(backend="pil", auto_augment="rand-m9-n4-mstd0.5-inc1"))
    image = waves(32, 32)
    for seed in range(10):
        draws = rng(seed)
        random_box(draws, 32, 32, [1.0, 1.0], [1.0, 1.0])
        draws.random()  # for the flip
        picture = Image.fromarray(image)
        for operation in parse_policy("rand-m9-n4-mstd0.5-inc1").draw(draws):
            picture = PilOps("bicubic", (124, 116, 104)).apply(picture, operation)
        np.testing.assert_array_equal(transform(image, rng(seed)), np.asarray(picture))


def test_backends_draw_the_same_random_numbers():
    options = {"scale": [0.08, 1.0], "ratio": [0.75, 1.33], "hflip": 0.5, "auto_augment": "rand-m9-mstd0.5-inc1"}
    fast, exact = (TrainTransform(settings(64, backend=backend, **options)) for backend in ("opencv", "pil"))
    image = waves(150, 200)
    correlations = [np.corrcoef(fast(image, rng(seed)).ravel(), exact(image, rng(seed)).ravel())[0, 1] for seed in range(40)]
    assert np.nanmedian(correlations) > 0.99
    assert np.mean(np.array(correlations) > 0.9) > 0.9


def test_transform_depends_only_on_the_generator():
    options = {"scale": [0.08, 1.0], "ratio": [0.75, 1.33], "hflip": 0.5, "auto_augment": "rand-m9-mstd0.5-inc1"}
    transform, image = TrainTransform(settings(**options)), waves(60, 60)
    results = [transform(image, rng(seed)).tobytes() for seed in range(8)]
    assert results == [transform(image, rng(seed)).tobytes() for seed in range(8)]
    assert len(set(results)) == 8


def test_colour_jitter_only_without_a_policy():
    image = waves(32, 32)
    jittered = TrainTransform(settings(color_jitter=0.4))(image, rng())
    assert np.abs(jittered.astype(int) - image).mean() > 2
    quiet = TrainTransform(settings(color_jitter=0.4, auto_augment="rand-m0-n1-inc1"))
    changed = [np.abs(quiet(image, rng(seed)).astype(int) - image).mean() for seed in range(20)]
    assert min(changed) == 0  # the draws that are not applied leave the image as it is: no jitter on top
    bright = np.full((8, 8, 3), 100, np.uint8)
    means = [TrainTransform(settings(8, color_jitter=0.4))(bright, rng(seed)).mean() for seed in range(200)]
    assert 58 <= min(means) < 70 and 130 < max(means) <= 140  # brightness alone moves a grey image


@pytest.mark.parametrize("backend", ["opencv", "pil"])
def test_colour_jitter_follows_3_augment(backend):
    image = waves(32, 32)
    strong = [TrainTransform(settings(backend=backend, auto_augment="3a"))(image, rng(seed)) for seed in range(20)]
    assert 5 <= len({result.tobytes() for result in strong}) < 20  # radii are drawn; grey and solarized are always the same
    for seed, alone in enumerate(strong):
        jittered = TrainTransform(settings(backend=backend, auto_augment="3a", color_jitter=0.3))(image, rng(seed))
        assert 1 < np.abs(jittered.astype(int) - alone).mean() < 60


def test_wrong_policy_is_reported():
    with pytest.raises(UserError, match=r"augment\.auto_augment is 'randaugment'"):
        TrainTransform(settings(auto_augment="randaugment"))


@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 375), (60, 333), (248, 248), (300, 300)])
def test_evaluation_is_resize_and_centre_crop(height, width):
    image = waves(height, width)
    result = EvalTransform(settings(224, crop_pct=0.9))(image)
    short = 248
    size = (int(short * width / height), short) if width > height else (short, int(short * height / width))
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    top, left = round((size[1] - 224) / 2), round((size[0] - 224) / 2)
    np.testing.assert_array_equal(result, resized[top : top + 224, left : left + 224])
    assert result.shape == (224, 224, 3)


def test_evaluation_does_not_depend_on_the_backend_but_on_the_interpolation():
    image = waves(100, 80)
    one, other = (EvalTransform(settings(32, 0.875, backend=backend))(image) for backend in ("opencv", "pil"))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, EvalTransform(settings(32, 0.875, interpolation="bilinear"))(image))


def test_evaluation_at_the_images_own_size_is_the_identity():
    image = waves(32, 32)
    np.testing.assert_array_equal(EvalTransform(settings(32))(image), image)


@pytest.mark.parametrize("backend", ["opencv", "pil"])
def test_the_simple_crop_shifts_by_up_to_its_padding(backend):
    """An image of the model's size is not resized: all that is left is a shift of up to 4 pixels, mirrored at the border."""
    transform, image = TrainTransform(settings(backend=backend, crop="src")), waves(32, 32)
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)), "reflect")
    shifts = set()
    for seed in range(60):
        found = transform(image, rng(seed))
        here = [(i, j) for i in range(9) for j in range(9) if np.array_equal(found, padded[i : i + 32, j : j + 32])]
        assert len(here) == 1
        shifts.add(here[0])
    assert {i for i, _ in shifts} == {j for _, j in shifts} == set(range(9))
    for shape in ((100, 70), (70, 100), (9, 30)):
        assert transform(waves(*shape), rng()).shape == (32, 32, 3)


def test_five_crops_are_the_corners_and_the_centre_of_the_resized_image():
    image, config = waves(60, 90), settings(crop_pct=0.8)
    five, resized = FiveCrops(config), EvalTransform(config).resized(image)
    assert five.shape == (5, 32, 32, 3) and resized.shape == (40, 60, 3)
    found = five(image)
    expected = [resized[:32, :32], resized[:32, 28:], resized[8:, :32], resized[8:, 28:], EvalTransform(config)(image)]
    np.testing.assert_array_equal(found, np.stack(expected))


def test_an_evaluation_of_one_channel_sees_pillows_grey_image():
    image = waves(60, 90)
    grey = Image.fromarray(image).convert("L").resize((48, 32), Image.Resampling.BICUBIC)
    found = EvalTransform(settings(in_chans=1))(image)
    assert found.shape == (32, 32, 1)
    np.testing.assert_array_equal(found[:, :, 0], np.asarray(grey)[:, 8:40])


@pytest.mark.parametrize("backend", ["pil", "opencv"])
@pytest.mark.parametrize("crop", ["rrc", "src"])
def test_a_training_of_one_channel_sees_grey_images(backend, crop):
    image, policy = waves(60, 90), {"auto_augment": "rand-m9-mstd0.5-inc1", "hflip": 0.5, "scale": [0.1, 1.0]}
    grey = np.repeat(np.asarray(Image.fromarray(image).convert("L"))[..., None], 3, 2)
    transform = TrainTransform(settings(in_chans=1, backend=backend, crop=crop, **policy))
    rgb = settings(backend=backend, crop=crop, **policy)
    rgb.data.mean = [0.4, 0.4, 0.4]  # what uncovered pixels show
    whole = TrainTransform(rgb)
    for seed in range(20):
        found, expected = transform(image, rng(seed)), whole(grey, rng(seed))
        assert found.shape == (32, 32, 1) and (expected == expected[:, :, :1]).all()
        np.testing.assert_array_equal(found, expected[:, :, :1])


@pytest.mark.parametrize("backend", ["pil", "opencv"])
@pytest.mark.parametrize("crop", ["rrc", "src"])
@pytest.mark.parametrize("size", [[24, 40], [40, 24]])
def test_rectangular_crops_have_their_size_and_the_aspect_of_the_image(backend, crop, size):
    # Across, the red channel grows by one level per pixel, down the green one.
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, :, 0], image[:, :, 1] = np.arange(200), np.arange(100)[:, None]
    for found in (
        EvalTransform(settings(size))(image),
        TrainTransform(settings(size, backend=backend, crop=crop, ratio=[size[1] / size[0]] * 2, scale=[0.3, 0.3]))(
            image, rng()
        ),
    ):
        assert found.shape == (*size, 3)
        across = float(np.median(np.diff(found[5:-5, 5:-5, 0].astype(int), axis=1).mean(1)))
        down = float(np.median(np.diff(found[5:-5, 5:-5, 1].astype(int), axis=0).mean(0)))
        assert across == pytest.approx(down, rel=0.1) and across > 1


def test_rectangular_erasing_boxes_stay_inside_and_reach_the_far_side():
    drawn = np.array([draw_boxes(rng(seed), (24, 80), 1.0, 1)[0] for seed in range(400)])
    top, left, height, width = drawn.T
    assert (top + height).max() == 24 and 70 < (left + width).max() <= 80 and (height * width).min() > 0
    assert noise_rows(rng(), 24).shape == (3, 24) and noise_bank(0, (24, 80)).shape == (1 << 14, 80)
