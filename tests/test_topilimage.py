"""What torchvision's `ToPILImage` does, sentence by sentence: the way back, and what does not survive it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vision import v1

LEVELS = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)


def back(tensor: torch.Tensor, mode: str | None = None) -> torch.Tensor:
    """The bytes of the picture that it becomes."""
    return torch.from_numpy(np.array(v1.ToPILImage(mode)(tensor)))


def test_the_steps_by_hand_give_the_same() -> None:
    given = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0))
    by_hand = given.mul(255).to(torch.uint8).numpy().transpose(1, 2, 0)
    assert np.array_equal(np.array(v1.ToPILImage()(given)), by_hand)


def test_all_256_levels_survive_the_way_there_and_back() -> None:
    image = Image.fromarray(LEVELS[0].numpy())
    assert torch.equal(back(v1.ToTensor()(image)), LEVELS[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_they_do_in_whatever_float_they_were_divided(dtype: torch.dtype) -> None:
    assert torch.equal(back(LEVELS.to(dtype) / 255), LEVELS[0])


def test_moved_by_less_than_any_eye_sees_half_of_them_come_back_one_lower() -> None:
    moved = LEVELS.double() / 255 + torch.where(LEVELS % 2 == 0, -1e-6, 1e-6)
    came = back(moved.clamp(0, 1)).to(torch.int32) - LEVELS[0].to(torch.int32)
    assert int((came == -1).sum()) == 127  # the even ones, but for black
    assert int((came != 0).sum()) == 127


def test_brain_floats_are_refused() -> None:
    with pytest.raises(TypeError, match="BFloat16"):
        v1.ToPILImage()(torch.zeros(1, 2, 2, dtype=torch.bfloat16))


def test_a_value_between_two_levels_is_cut_off_not_rounded() -> None:
    assert back(torch.full((1, 1, 1), 254.99 / 255)).item() == 254
    assert back(torch.full((1, 1, 1), 0.999 / 255)).item() == 0


@pytest.mark.parametrize(("value", "becomes"), [(256 / 255, 0), (1.5, 382 - 256), (2.0, 510 - 256), (-1 / 255, 255)])
def test_what_lies_outside_wraps_around(value: float, becomes: int) -> None:
    given = torch.full((1, 1, 1), value, dtype=torch.float64)
    assert back(given).item() == becomes


def test_a_normalised_picture_comes_back_as_garbage_unless_the_normalisation_is_undone() -> None:
    image = Image.fromarray(LEVELS[0].numpy())
    normalised = v1.Normalize((0.5,), (0.25,))(v1.ToTensor()(image))
    assert (back(normalised) != LEVELS[0]).float().mean() > 0.9
    undone = (normalised * 0.25 + 0.5).clamp(0, 1).mul(255).round().div(255)
    assert (back(undone).to(torch.int32) - LEVELS[0].to(torch.int32)).abs().max() <= 1


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_the_mode_follows_from_the_number_of_channels(channels: int, mode: str) -> None:
    assert v1.ToPILImage()(torch.zeros(channels, 2, 2)).mode == mode


def test_channels_last_is_taken_for_many_channels_or_refused() -> None:
    with pytest.raises(ValueError, match="channels"):
        v1.ToPILImage()(torch.zeros(28, 30, 3))
    assert v1.ToPILImage()(torch.zeros(3, 30, 3)).size == (3, 30)


@pytest.mark.parametrize(("dtype", "mode"), [(torch.uint8, "L"), (torch.int16, "I;16"), (torch.int32, "I")])
def test_whole_numbers_are_not_multiplied(dtype: torch.dtype, mode: str) -> None:
    image = v1.ToPILImage()(torch.full((1, 2, 2), 100, dtype=dtype))
    assert image.mode == mode
    assert np.array(image).flatten().tolist() == [100] * 4


def test_floats_that_keep_their_value_are_those_of_mode_f() -> None:
    image = v1.ToPILImage("F")(torch.full((1, 2, 2), 3.5))
    assert image.mode == "F"
    assert np.array(image).max() == 3.5


def test_arrays_of_floats_are_multiplied_as_tensors_are() -> None:
    image = v1.ToPILImage()(np.full((2, 2, 3), 0.5, np.float32))
    assert image.mode == "RGB"
    assert np.array(image).max() == 127
