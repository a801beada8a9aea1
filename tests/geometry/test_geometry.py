import math

import pytest
import roma
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wildrayzer.geometry.cameras import Cameras, invert_rigid, relative_to, rigid
from wildrayzer.geometry.interpolate import interpolate_cameras
from wildrayzer.geometry.rays import fourier_code, patch_ordered_centres, pixel_centres, plucker_at, plucker_rays
from wildrayzer.geometry.rotations import rotation_from_6d, rotation_from_quaternion

numbers = st.floats(-2, 2, width=32)


def random_cameras(batch=1, views=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rotation = rotation_from_6d(torch.randn(batch, views, 6, generator=generator))
    intrinsics = torch.tensor([1.1, 1.3, 0.45, 0.55]).expand(batch, views, 4)
    return Cameras(rigid(rotation, torch.randn(batch, views, 3, generator=generator)), intrinsics)


def test_6d_identity_and_hand_computed_columns():
    assert torch.equal(rotation_from_6d(torch.tensor([1.0, 0, 0, 0, 1, 0])), torch.eye(3))
    # a1 = (0, 2, 0), a2 = (-1, 5, 0): b1 = y, b2 = -x, b3 = y × -x = z
    rotation = rotation_from_6d(torch.tensor([0.0, 2, 0, -1, 5, 0]))
    torch.testing.assert_close(rotation, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))


@given(hnp.arrays("float32", 6, elements=numbers))
def test_6d_gives_rotations(values):
    raw = torch.from_numpy(values)
    if torch.linalg.cross(raw[:3], raw[3:]).norm() < 0.1:
        return
    rotation = rotation_from_6d(raw)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(3), atol=1e-4, rtol=0)
    assert torch.linalg.det(rotation).item() == pytest.approx(1, abs=1e-4)


def test_quaternion_is_wxyz_and_scale_free():
    quarter = math.sqrt(0.5)
    about_z = rotation_from_quaternion(torch.tensor([quarter, 0, 0, quarter]))
    torch.testing.assert_close(about_z, torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]), atol=1e-6, rtol=0)
    wxyz = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    unit = wxyz / wxyz.norm(dim=-1, keepdim=True)
    expected = roma.unitquat_to_rotmat(unit[:, [1, 2, 3, 0]])
    torch.testing.assert_close(rotation_from_quaternion(3 * wxyz), expected, atol=1e-6, rtol=0)


def test_rays_of_a_hand_computed_camera():
    c2w = torch.eye(4)
    # looks along world +x: camera z is world x, camera x is world -z
    c2w[:3, :3] = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    c2w[:3, 3] = torch.tensor([1.0, 2, 3])
    cameras = Cameras(c2w[None, None], torch.tensor([[[1.25, 0.5, 0.5, 0.5]]]))
    rays = plucker_rays(cameras, 2, 4)
    assert rays.shape == (1, 1, 6, 2, 4)
    # first pixel: centre (1/8, 1/4) in normalised coordinates
    local = torch.tensor([(0.125 - 0.5) / 1.25, (0.25 - 0.5) / 0.5, 1.0])
    direction = torch.tensor([local[2], local[1], -local[0]])
    direction = direction / direction.norm()
    x, y, z = direction
    moment = torch.stack([2 * z - 3 * y, 3 * x - 1 * z, 1 * y - 2 * x])
    torch.testing.assert_close(rays[0, 0, :, 0, 0], torch.cat([moment, direction]))


def test_rays_are_unit_length_and_orthogonal_to_their_moment():
    rays = plucker_rays(random_cameras(2, 3), 5, 7)
    moment, direction = rays[:, :, :3], rays[:, :, 3:]
    torch.testing.assert_close(direction.norm(dim=2), torch.ones(2, 3, 5, 7))
    torch.testing.assert_close((moment * direction).sum(2), torch.zeros(2, 3, 5, 7), atol=1e-5, rtol=0)


def test_rays_stay_in_float32_under_autocast():
    cameras = random_cameras()
    with torch.autocast("cpu", torch.bfloat16):
        lowered = plucker_rays(cameras, 4, 4)
    assert torch.equal(lowered, plucker_rays(cameras, 4, 4))


def test_gradients_reach_pose_and_focal():
    cameras = random_cameras()
    c2w, intrinsics = cameras.c2w.clone().requires_grad_(), cameras.intrinsics.clone().requires_grad_()
    plucker_rays(Cameras(c2w, intrinsics), 4, 4).square()[:, :, :3].sum().backward()
    assert (c2w.grad[..., :3, :] != 0).all()
    assert (intrinsics.grad != 0).all()


def test_patch_order_is_row_by_row_within_and_between_patches():
    grid, samples = 2, 3
    centres = pixel_centres(6, 6)
    ordered = patch_ordered_centres(grid, samples)
    assert ordered.shape == (4, 9, 2)
    torch.testing.assert_close(ordered[1], centres[:3, 3:].reshape(9, 2))
    torch.testing.assert_close(ordered[2], centres[3:, :3].reshape(9, 2))
    cameras = random_cameras()
    at = plucker_at(cameras, ordered.flatten(0, 1))
    torch.testing.assert_close(at[0, 0, 9], plucker_rays(cameras, 6, 6)[0, 0, :, 0, 3])


def test_fourier_code_by_hand():
    ray = torch.tensor([0.5, 0, 0, 0, 0, 1.0])
    code = fourier_code(ray, 2)
    assert code.shape == (6 * 5,)
    assert torch.equal(code[:6], ray)
    half = math.sqrt(0.5)
    # 0.5 at π/2 and π; 1 at π/2 and π
    torch.testing.assert_close(code[6:8], torch.tensor([half, 1.0]))
    torch.testing.assert_close(code[16:18], torch.tensor([1.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(code[18:20], torch.tensor([half, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(code[28:30], torch.tensor([0.0, -1.0]), atol=1e-6, rtol=0)


def test_select_relative_and_inverse():
    cameras = random_cameras(2, 4)
    chosen = cameras.select([3, 1])
    assert torch.equal(chosen.c2w, cameras.c2w[:, [3, 1]])
    assert torch.equal(cameras.select(slice(2)).intrinsics, cameras.intrinsics[:, :2])
    torch.testing.assert_close(invert_rigid(cameras.c2w), torch.linalg.inv(cameras.c2w), atol=1e-5, rtol=0)
    relative = relative_to(cameras.c2w, 2)
    torch.testing.assert_close(relative[:, 2], torch.eye(4).expand(2, 4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(cameras.c2w[:, 2] @ relative[:, 0], cameras.c2w[:, 0], atol=1e-5, rtol=0)


def test_path_passes_through_its_cameras_and_stays_rigid():
    cameras = random_cameras(2, 3)
    path = interpolate_cameras(cameras, 9)
    assert path.c2w.shape == (2, 9, 4, 4)
    torch.testing.assert_close(path.c2w[:, ::4], cameras.c2w, atol=1e-5, rtol=0)
    torch.testing.assert_close(path.intrinsics, cameras.intrinsics[:, :1].expand(2, 9, 4))
    rotation = path.c2w[..., :3, :3]
    torch.testing.assert_close(
        rotation @ rotation.transpose(-1, -2), torch.eye(3).expand(2, 9, 3, 3), atol=1e-5, rtol=0
    )


def test_path_between_two_cameras_is_symmetric():
    ends = torch.eye(4).repeat(1, 2, 1, 1)
    ends[0, 1, 0, 3] = 2.0
    path = interpolate_cameras(Cameras(ends, torch.ones(1, 2, 4)), 5)
    x = path.c2w[0, :, 0, 3]
    torch.testing.assert_close(x, 2 - x.flip(0))
    assert (x.diff() > 0).all()


def test_path_needs_two_cameras():
    with pytest.raises(ValueError, match="at least 2 cameras and 2 frames, got 1 cameras"):
        interpolate_cameras(random_cameras(1, 1), 5)
