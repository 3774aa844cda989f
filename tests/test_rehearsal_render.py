from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from device.rehearsal.head import band
from device.rehearsal.render import Lens, Surface, Texture, draw

LENS = Lens(320, 240)
GREY = 90


def ramp() -> Texture:
    """128×128: blue grows to the right, green downwards."""
    y, x = np.mgrid[0:128, 0:128]
    return Texture.of(np.stack([x * 2, y * 2, np.full_like(x, 40)], axis=-1).astype(np.uint8))


def sheet(side_m: float = 0.5, z: float = 1.0, turn: float = 0.0, layer: int = 0) -> Surface:
    v, u = np.mgrid[0.0:1.0:9j, 0.0:1.0:9j]
    x, y = (u.ravel() - 0.5) * side_m, (v.ravel() - 0.5) * side_m
    points = np.column_stack([x * np.cos(turn), y, z + x * np.sin(turn)]).astype(np.float32)
    texels = np.column_stack([u.ravel() * 128, v.ravel() * 128]).astype(np.float32)
    triangles = band(9, 9)
    layers = np.full(len(triangles), layer, np.int32)
    return Surface(points, texels, np.ones(81, np.float32), triangles, layers, ramp())


def canvas() -> npt.NDArray[np.uint8]:
    return np.full((240, 320, 3), GREY, np.uint8)


def test_a_point_on_the_axis_lies_in_the_middle_of_the_picture() -> None:
    projected = LENS.project(np.array([[0, 0, 2.0], [0.1, -0.1, 2.0]], np.float32))
    assert projected[0].tolist() == [160.0, 120.0]
    assert np.allclose(projected[1] - projected[0], np.array([0.05, -0.05]) * LENS.focal_px, atol=1e-3)


def test_the_field_of_view_spans_the_picture() -> None:
    half = np.tan(np.radians(LENS.field_deg / 2))
    assert np.allclose(LENS.project(np.array([[half, 0, 1.0]], np.float32)), [[320.0, 120.0]], atol=1e-3)


def test_a_sheet_shows_its_texture_in_place_and_leaves_the_rest_alone() -> None:
    picture = canvas()
    patch = draw(picture, sheet(), LENS)
    half = 0.25 * LENS.focal_px
    for share in (0.1, 0.5, 0.9):
        x, y = int(160 + (share * 2 - 1) * half), 120
        assert abs(int(picture[y, x, 0]) - share * 256) < 6
        assert abs(int(picture[y, x, 1]) - 128) < 6
    assert (picture[:, : patch.left] == GREY).all()
    assert (picture[: patch.top] == GREY).all()


def test_no_crack_shows_between_triangles() -> None:
    picture = np.zeros((240, 320, 3), np.uint8)
    white = Texture.of(np.full((128, 128, 3), 255, np.uint8))
    draw(picture, replace(sheet(turn=0.5), texture=white), LENS)
    inside = picture[70:170, 120:195, 0]
    assert inside.min() >= 253


def test_half_the_resolution_of_the_map_gives_nearly_the_same_picture() -> None:
    exact, coarse = canvas(), canvas()
    draw(exact, replace(sheet(), exact_px=10**9), LENS)
    draw(coarse, replace(sheet(), exact_px=0), LENS)
    difference = np.abs(exact[70:170, 110:210].astype(int) - coarse[70:170, 110:210].astype(int))
    assert difference.max() <= 3


def test_the_back_of_a_surface_is_not_drawn() -> None:
    picture = canvas()
    patch = draw(picture, sheet(turn=np.pi), LENS)
    assert patch.is_empty
    assert (picture == GREY).all()


def test_what_is_behind_the_camera_is_not_drawn() -> None:
    picture = canvas()
    draw(picture, sheet(z=-1.0), LENS)
    assert (picture == GREY).all()


def test_shade_and_tint_change_the_brightness() -> None:
    picture = canvas()
    half = replace(sheet(), shade=np.full(81, 0.5, np.float32), tint=(1.0, 2.0, 1.0))
    draw(picture, half, LENS)
    blue, green, red = picture[120, 160].tolist()
    assert abs(blue - 64) < 5
    assert abs(green - 128) < 5
    assert abs(red - 20) < 5


def test_a_small_surface_takes_a_smaller_texture() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (512, 512, 3)).astype(np.uint8)
    far = replace(sheet(side_m=0.1, z=2.0), texture=Texture.of(noise), texels=sheet().texels * 4)
    picture = canvas()
    patch = draw(picture, far, LENS)
    drawn = picture[patch.top + 4:patch.bottom - 4, patch.left + 4:patch.right - 4]
    assert drawn.std() < 0.4 * noise.std()
