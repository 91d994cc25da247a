"""The operations of both backends, OpenCV against Pillow; tests/fidelity/test_augment.py compares Pillow's with timm's."""

import numpy as np
import pytest

from deit.data.crop import Box
from deit.data.operations import Operation, argument
from deit.data.ops_opencv import OpencvOps
from deit.data.ops_pil import PilOps

FILL = (124, 116, 104)

EXACT = ("AutoContrast", "Equalize", "Invert", "Posterize", "Solarize", "SolarizeAdd", "Brightness")
ENHANCED = ("Color", "Contrast", "Sharpness")
AFFINE = ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY")


def picture(height: int, width: int) -> np.ndarray:
    """A picture with gradients, wraps and a channel that does not use all levels."""
    y, x = np.mgrid[:height, :width]
    channels = [(x * 7 + y * 3) % 256, (x * x // 9 + y * 5) % 256, 40 + (x * y // 7) % 150]
    return np.stack(channels, -1).astype(np.uint8)


def smooth(size: int) -> np.ndarray:
    """Soft waves, on which interpolations agree."""
    y, x = np.mgrid[:size, :size] / size
    waves = [np.sin(9 * x + 4 * y), np.cos(7 * y - 3 * x), np.sin(5 * x * y + 1)]
    return np.round(127.5 + 120 * np.stack(waves, -1)).astype(np.uint8)


def both(image, operation, interpolation="bicubic"):
    """(OpenCV's result, Pillow's result)."""
    fast, exact = OpencvOps(interpolation, FILL), PilOps(interpolation, FILL)
    return fast.finish(fast.apply(fast.start(image), operation)), exact.finish(exact.apply(exact.start(image), operation))


@pytest.mark.parametrize("increasing", [True, False])
@pytest.mark.parametrize("name", EXACT)
def test_opencv_equals_pil(name, increasing):
    images = [picture(48, 64), picture(31, 17), smooth(32), np.full((8, 8, 3), 77, np.uint8), picture(224, 224) // 3 + 40]
    for image in images:
        before = image.copy()
        for level in (*range(11), 15, 22.5, 30):
            for sign in (-1, 1):
                fast, exact = both(image, Operation(name, argument(name, level, sign, increasing)))
                np.testing.assert_array_equal(fast, exact)
        np.testing.assert_array_equal(image, before)  # an operation leaves its input alone


@pytest.mark.parametrize("name", ENHANCED)
def test_opencv_enhances_within_a_level_of_pil(name):
    for image in (picture(48, 64), smooth(64), picture(5, 7)):
        for factor in (0.0, 0.1, 0.55, 1.0, 1.3, 1.9):
            fast, exact = both(image, Operation(name, factor))
            difference = fast.astype(int) - exact
            assert np.abs(difference).max() <= 1
            assert np.abs(difference).mean() < 0.05
            if factor == 1.0:
                np.testing.assert_array_equal(fast, image)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("name", AFFINE)
def test_opencv_moves_pixels_like_pil(name, interpolation):
    image = smooth(224)
    for level in (0.7, 4, 9):
        for sign in (-1, 1):
            operation = Operation(name, argument(name, level, sign, True))
            fast, exact = both(image, operation, interpolation)
            difference = fast.astype(int) - exact
            # Pillow cuts fractions off, which makes it half a level darker; a shift by half a pixel would show.
            assert np.abs(difference).mean() < 1.0
            assert -0.1 < difference.mean() < 0.8
            blended = np.abs(difference).max(-1) > 3  # only along the border that came into the image
            assert blended.mean() < 0.025


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("name", [name for name in AFFINE if name != "Rotate"])
def test_opencv_moves_along_an_axis_within_a_level_of_pil(name, interpolation):
    for image in (picture(48, 64), smooth(64), picture(5, 7), picture(224, 224)):
        for amount in (0.0, 0.003, 0.137, 0.25, 0.45, 0.9, 1.0, 1.35):  # the last move all of the image away
            for sign in (-1, 1):
                fast, exact = both(image, Operation(name, sign * amount), interpolation)
                difference = np.abs(fast.astype(int) - exact)
                assert difference.max() <= 1 and difference.mean() < 0.15, (image.shape, sign * amount)


@pytest.mark.parametrize("name", AFFINE)
def test_affine_operations_uncover_the_fill(name):
    for result in both(smooth(64), Operation(name, 25.0 if name == "Rotate" else 0.4)):
        assert np.mean(np.all(result == FILL, -1)) > 0.08


def test_directions():
    """A white dot right of and above the centre shows where each backend moves pixels."""
    image = np.zeros((65, 65, 3), np.uint8)
    image[10:13, 50:53] = 255

    def centre(result):
        y, x = np.nonzero(result.min(-1) > 140)
        return y.mean(), x.mean()

    black = (0, 0, 0)
    for ops in (OpencvOps("bilinear", black), PilOps("bilinear", black)):

        def moved(name, argument, ops=ops):
            return centre(ops.finish(ops.apply(ops.start(image), Operation(name, argument))))

        assert moved("TranslateX", 10 / 65) == pytest.approx((11, 41), abs=0.01)
        assert moved("TranslateY", -20 / 65) == pytest.approx((31, 51), abs=0.01)
        assert moved("Rotate", 90.0) == pytest.approx((13, 11), abs=0.1)  # counter-clockwise
        assert moved("ShearX", 0.3)[1] == pytest.approx(51 - 0.3 * 11.5, abs=0.5)


@pytest.mark.parametrize("bits", [0, -8])
def test_no_bits_are_black(bits):
    for result in both(picture(8, 8), Operation("Posterize", bits)):
        assert result.max() == 0


@pytest.mark.parametrize("bits", [8, 12])
def test_all_bits_are_the_image(bits):
    for result in both(picture(8, 8), Operation("Posterize", bits)):
        np.testing.assert_array_equal(result, picture(8, 8))


def test_desaturating_wholly_leaves_one_channel():
    for result in both(picture(20, 30), Operation("Desaturate", 1.0)):
        assert result.std() > 10
        np.testing.assert_array_equal(result[..., :1].repeat(3, -1), result)


@pytest.mark.parametrize("radius", [0.1, 0.5, 0.9, 1.3, 2.0])
def test_opencv_blurs_as_pil(radius):
    for image in (picture(48, 64), smooth(64), picture(5, 7)):
        fast, exact = both(image, Operation("GaussianBlur", radius))
        difference = fast.astype(int) - exact
        assert np.abs(difference).max() <= 4 and np.abs(difference).mean() < 0.5
    dot = np.zeros((31, 31, 3), np.uint8)
    dot[15, 15] = 255
    for result in both(dot, Operation("GaussianBlur", radius)):
        weights = result[..., 0] / result[..., 0].sum()
        spread = np.sqrt((weights.sum(0) * (np.arange(31) - 15) ** 2).sum())
        assert spread == pytest.approx(radius, abs=0.2)


def test_flip_and_crop():
    image = picture(60, 80)
    fast, exact = OpencvOps("bicubic", FILL), PilOps("bicubic", FILL)
    for ops in (fast, exact):
        np.testing.assert_array_equal(ops.finish(ops.flip(ops.start(image))), image[:, ::-1])
        whole = ops.finish(ops.crop(ops.start(image), Box(5, 11, 32, 32), (32, 32)))
        np.testing.assert_array_equal(whole, image[5:37, 11:43])
    large = smooth(200)
    for box in (Box(0, 0, 200, 200), Box(20, 30, 101, 66), Box(3, 4, 30, 40), Box(0, 0, 20, 190)):
        difference = fast.crop(large, box, (64, 64)).astype(int) - exact.finish(exact.crop(exact.start(large), box, (64, 64)))
        assert np.abs(difference).mean() < 1.0
        assert abs(difference.mean()) < 0.15
