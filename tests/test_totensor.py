"""What torchvision's `ToTensor` does, sentence by sentence: its six steps, what it scales and what it does not."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from vision import v1, v2

HEIGHT, WIDTH = 5, 7

SCALED = {"1": 1, "L": 1, "LA": 2, "P": 1, "RGB": 3, "RGBA": 4, "CMYK": 4, "YCbCr": 3, "HSV": 3, "LAB": 3, "RGBX": 4}
"""Channels of each of Pillow's modes of eight bits, or one: all of these are divided by 255."""

AS_THEY_ARE = {"I": torch.int32, "F": torch.float32}
"""Those with wider numbers: nothing is divided."""


def picture(mode: str) -> Image.Image:
    rows = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3) * 2
    if mode in ("LA", "P", "LAB", "HSV", "RGBX", "1", "I", "F"):
        made = Image.new(mode, (WIDTH, HEIGHT))
        made.paste(Image.fromarray(rows).convert(mode) if mode not in ("LAB", "LA", "RGBX") else made)
        return made
    return Image.fromarray(rows).convert(mode)


def test_the_six_steps_by_hand_give_the_same() -> None:
    image = picture("RGB")
    in_memory = image.tobytes()  # 1: the picture's bytes, row by row, colours side by side
    flat = torch.frombuffer(bytearray(in_memory), dtype=torch.uint8)  # 2: as a tensor of bytes
    rows = flat.reshape(image.size[1], image.size[0], len(image.getbands()))  # 3: height, width, channels
    channels = rows.permute(2, 0, 1).contiguous()  # 4: channels first
    scaled = channels.to(torch.float32) / 255  # 5: from 0..255 to 0..1
    given = v1.ToTensor()(image)  # 6: and that is returned
    assert torch.equal(given, scaled)
    assert given.dtype == torch.float32
    assert given.shape == (3, HEIGHT, WIDTH)
    assert given.is_contiguous()


@pytest.mark.parametrize("mode", SCALED)
def test_pictures_of_bytes_are_scaled(mode: str) -> None:
    image = picture(mode)
    given = v1.ToTensor()(image)
    values = np.array(image, dtype=np.uint8).reshape(HEIGHT, WIDTH, SCALED[mode]) * (255 if mode == "1" else 1)
    assert given.dtype == torch.float32
    assert torch.equal(given, torch.from_numpy(values).permute(2, 0, 1).float() / 255)
    assert given.min() >= 0 and given.max() <= 1


@pytest.mark.parametrize("mode", AS_THEY_ARE)
def test_pictures_of_wider_numbers_are_not(mode: str) -> None:
    image = Image.new(mode, (WIDTH, HEIGHT), 1000)
    given = v1.ToTensor()(image)
    assert given.dtype == AS_THEY_ARE[mode]
    assert (given == 1000).all()


def test_pictures_of_sixteen_bits_are_not() -> None:
    image = Image.fromarray(np.full((HEIGHT, WIDTH), 1000, np.uint16))
    assert image.mode == "I;16"
    given = v1.ToTensor()(image)
    assert not given.is_floating_point()
    assert (given.to(torch.int32) == 1000).all()


def test_indices_into_a_palette_are_scaled_as_if_they_were_brightness() -> None:
    image = Image.new("P", (WIDTH, HEIGHT), 3)
    image.putpalette([0, 0, 0, 10, 20, 30, 40, 50, 60, 250, 0, 120])
    assert torch.allclose(v1.ToTensor()(image), torch.full((1, HEIGHT, WIDTH), 3 / 255))


@pytest.mark.parametrize("transform", [v1.ToTensor(), v1.functional.to_tensor])
def test_arrays_of_bytes_are_scaled(transform: v1.ToTensor) -> None:
    given = transform(np.full((HEIGHT, WIDTH, 3), 51, np.uint8))
    assert given.dtype == torch.float32
    assert torch.allclose(given, torch.full((3, HEIGHT, WIDTH), 0.2))


@pytest.mark.parametrize(
    "dtype",
    ["bool", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64"],
)
def test_arrays_of_anything_else_are_not(dtype: str) -> None:
    array: NDArray[np.generic] = np.full((HEIGHT, WIDTH, 3), 51).astype(dtype)
    given = v1.ToTensor()(array)
    assert given.dtype == torch.from_numpy(array).dtype
    assert given.shape == (3, HEIGHT, WIDTH)
    assert torch.equal(given, torch.from_numpy(array).permute(2, 0, 1))


def test_tables_get_a_channel_and_what_lies_otherwise_is_turned_all_the_same() -> None:
    assert v1.ToTensor()(np.zeros((HEIGHT, WIDTH), np.uint8)).shape == (1, HEIGHT, WIDTH)
    assert v1.ToTensor()(np.zeros((3, HEIGHT, WIDTH), np.uint8)).shape == (WIDTH, 3, HEIGHT)  # it was channels first


def test_a_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="should be PIL Image or ndarray"):
        v1.ToTensor()(torch.zeros(3, HEIGHT, WIDTH))


def test_dividing_once_more_leaves_next_to_nothing() -> None:
    white = v1.ToTensor()(Image.new("RGB", (WIDTH, HEIGHT), (255, 255, 255))) / 255
    assert white.max() == pytest.approx(1 / 255)


def test_the_result_is_no_whole_number_but_that_of_pil_to_tensor_is() -> None:
    image = picture("RGB")
    given = v1.PILToTensor()(image)
    assert given.dtype == torch.uint8
    assert torch.equal(given.float() / 255, v1.ToTensor()(image))


def test_the_second_version_warns_and_does_the_same() -> None:
    image = picture("RGB")
    with pytest.warns(UserWarning, match="deprecated"):
        second = v2.ToTensor()
    assert torch.equal(second(image), v1.ToTensor()(image))


@pytest.mark.parametrize("scale", [True, False])
def test_its_successor_scales_only_when_asked(scale: bool) -> None:
    image = picture("RGB")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=scale)])(image)
    assert given.dtype == torch.float32
    assert torch.allclose(given / (1 if scale else 255), v1.ToTensor()(image))


def test_conversion_scales_by_the_range_of_the_type() -> None:
    bytes_, words = torch.tensor([[[255]]], dtype=torch.uint8), torch.tensor([[[32767]]], dtype=torch.int16)
    convert = v1.ConvertImageDtype(torch.float32)
    assert convert(bytes_).item() == 1
    assert convert(words).item() == 1
