"""Geometry of the procedural clips, checked by hand and by re-projection."""

import hashlib

import cv2
import numpy as np
import pytest

from wildrayzer.config.sections.data import EmbeddedConfig, EmbeddedSplit
from wildrayzer.data.embedded.raycast import render_clip, sample_grid
from wildrayzer.data.embedded.scene import FOCAL, Clip, Solid, Streams, draw_camera, draw_clip
from wildrayzer.data.embedded.splits import iterate_clips, make_clip, seed_name
from wildrayzer.data.embedded.textures import actor_texture, furniture_texture, photograph_files

SIZE = 40


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.tile(np.array(colour, np.uint8), (4, 4, 1))


def by_hand(solid: Solid, c2w: np.ndarray, *, moving: bool = False) -> Clip:
    solids = (solid,)
    return Clip(
        room_half=np.array([3.0, 3.0, 5.0]),
        room_centre=np.zeros(3),
        room_textures=np.stack([plain((100, 100, 100))] * 6),
        still=() if moving else solids,
        movers=solids if moving else (),
        c2w=c2w,
        times=np.linspace(0, 1, len(c2w)),
    )


def poses(count: int) -> np.ndarray:
    return np.tile(np.eye(4), (count, 1, 1))


def small(kind: str, centre: list[float], count: int) -> Solid:
    return Solid(
        kind, np.full(3, 0.1), np.tile(np.array(centre, float), (count, 1)), np.zeros(count), plain((250, 0, 0))
    )


def centroid(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


@pytest.mark.parametrize("kind", ["box", "ellipsoid"])
def test_a_known_point_lands_at_its_pixel(kind):
    # The nearest point of a sphere on the axis of view, or of the box's front face, projects where the centre does:
    # x = 0.4, z = 2 → 40 · (1.25 · 0.2 + 0.5) = 30; y = −0.2 → 40 · (1.25 · −0.1 + 0.5) = 15.
    rendering = render_clip(
        by_hand(small(kind, [0.4, -0.2, 2.0], 1), poses(1), moving=True), size=SIZE, supersampling=4
    )
    assert centroid(rendering.masks[0]) == pytest.approx([30, 15], abs=0.6)
    # front face at z = 1.9: its side is 0.2 · 1.25 / 1.9 · 40 px; the ellipsoid's silhouette is about 0.1 · 1.25 / 2
    side = {"box": 0.2 * FOCAL / 1.9 * SIZE, "ellipsoid": 0.2 * FOCAL / 2 * SIZE}[kind]
    area = {"box": side**2, "ellipsoid": np.pi * side**2 / 4}[kind]
    assert rendering.masks[0].sum() == pytest.approx(area, rel=0.3)


def test_the_room_has_the_depth_of_its_walls():
    clip = by_hand(small("box", [0.0, 0.0, -3.0], 1), poses(1))
    rendering = render_clip(clip, size=SIZE, supersampling=1)
    assert np.allclose(rendering.depth, 5.0, atol=1e-4)  # 5 · 0.4 = 2 < 3: only the back wall is in view
    turned = poses(1)
    turned[0, :3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]  # yaw of 90°: looks along +x
    assert np.allclose(render_clip(by_hand(small("box", [0, 0, -3], 1), turned), size=8, supersampling=1).depth, 3.0)


def test_camera_motion_shifts_the_picture_as_it_should():
    c2w = poses(3)
    c2w[1, 0, 3] = 0.2  # slides right: things move left by 40 · 1.25 · 0.2 / 2 = 5 px
    angle = 0.1  # turns right: things ahead move left by 40 · 1.25 · tan(0.1) px
    c2w[2, :3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    masks = render_clip(by_hand(small("ellipsoid", [0, 0, 2.0], 3), c2w, moving=True), size=SIZE, supersampling=4).masks
    middle = [centroid(mask) for mask in masks]
    assert middle[0] == pytest.approx([20, 20], abs=0.3)
    assert middle[1] - middle[0] == pytest.approx([-5, 0], abs=0.4)
    assert middle[2] - middle[0] == pytest.approx([-SIZE * FOCAL * np.tan(angle), 0], abs=0.4)


def test_faces_are_shaded_and_turned_boxes_show_their_sides():
    solid = Solid("box", np.full(3, 0.3), np.array([[0, 0, 2.0]]), np.array([np.pi / 4]), plain((200, 200, 200)))
    frame = render_clip(by_hand(solid, poses(1)), size=SIZE, supersampling=1).frames[0]
    # turned by 45° the edge is in the middle, the face −z left of it or right of it, and one of ±x beside
    assert {int(value) for value in frame[20, 14:26, 0]} == {int(200 * 0.82), int(200 * 0.92)}


def test_two_frames_of_a_still_clip_agree_through_the_true_depth():
    config = EmbeddedConfig(texture_detail=3)
    clip = draw_clip(Streams.of((1, 2, 3)), config, EmbeddedSplit(scenes=1), texture_side=256)
    rendering = render_clip(clip, size=96, supersampling=1)
    errors, shifts = [], []
    for other in (4, 9):
        grid = sample_grid(96)
        rays = np.stack([*np.meshgrid(grid, grid), np.ones((96, 96))], -1)
        world = (rays * rendering.depth[0][..., None]) @ clip.c2w[0, :3, :3].T + clip.c2w[0, :3, 3]
        seen = (world - clip.c2w[other, :3, 3]) @ clip.c2w[other, :3, :3]
        place = (FOCAL * seen[..., :2] / seen[..., 2:] + 0.5) * 96 - 0.5
        there = cv2.remap(rendering.frames[other], place.astype(np.float32), None, cv2.INTER_LINEAR)
        depth = cv2.remap(rendering.depth[other], place.astype(np.float32), None, cv2.INTER_LINEAR)
        inside = ((place > 1) & (place < 94)).all(-1) & (np.abs(depth - seen[..., 2]) < 0.02)
        assert inside.mean() > 0.3
        errors.append(np.abs(there.astype(int) - rendering.frames[0])[inside].mean())
        shifts.append(np.abs(rendering.frames[other].astype(int) - rendering.frames[0]).mean())
    assert max(errors) < 2.0  # grey levels, against the frames' own difference:
    assert min(shifts) > 4 * max(errors)


def test_masks_say_exactly_where_frames_differ_from_their_clean_twins():
    config = EmbeddedConfig(frames=6)
    for movers in ("actors", "furniture"):
        for number in range(6):
            made = make_clip(
                number, config=config, split=EmbeddedSplit(scenes=1, movers=movers), key="a", image_size=48
            ).rendering
            differ = (made.frames != made.clean).any(-1)
            assert not (differ & ~made.touched).any()
            assert not (made.masks.astype(bool) & ~made.touched).any()
            if made.masks.sum() > 200:
                assert differ[made.masks == 1].mean() > 0.9


def test_a_frozen_clip_has_the_same_cameras_and_background_and_movers_that_stand():
    config = EmbeddedConfig()
    moving = EmbeddedSplit(scenes=1, movers="actors")
    frozen = moving.model_copy(update={"frozen": True})
    for number in range(3):
        one, two = (make_clip(number, config=config, split=s, key="a", image_size=32) for s in (moving, frozen))
        assert np.array_equal(one.clip.c2w, two.clip.c2w)
        assert np.array_equal(one.rendering.clean, two.rendering.clean)
        assert all(np.ptp(solid.centre, 0).max() > 0.1 for solid in one.clip.movers)
        assert all(not np.ptp(solid.centre, 0).any() for solid in two.clip.movers)
        middle = config.frames // 2
        assert np.array_equal(one.rendering.frames[middle], two.rendering.frames[middle])
        assert np.array_equal(one.rendering.masks[middle], two.rendering.masks[middle])


def test_movers_of_the_furniture_family_keep_the_clip_and_are_boxes():
    config = EmbeddedConfig()
    actors, furniture = (
        make_clip(0, config=config, split=EmbeddedSplit(scenes=1, movers=kind), key="a", image_size=32)
        for kind in ("actors", "furniture")
    )
    assert np.array_equal(actors.rendering.clean, furniture.rendering.clean)
    assert {solid.kind for solid in furniture.clip.movers} == {"box"}
    assert {solid.kind for solid in actors.clip.movers} == {"ellipsoid"}


def test_standing_actors_are_part_of_the_still_scene():
    split = EmbeddedSplit(scenes=1, static_actors=1.0)
    made = make_clip(0, config=EmbeddedConfig(), split=split, key="a", image_size=32)
    assert "ellipsoid" in {solid.kind for solid in made.clip.still}
    assert not made.clip.movers
    assert not made.rendering.masks.any()
    without = make_clip(0, config=EmbeddedConfig(), split=EmbeddedSplit(scenes=1), key="a", image_size=32)
    assert np.array_equal(made.clip.c2w, without.clip.c2w)


def test_camera_paths_are_signed_bounded_and_of_three_kinds():
    config = EmbeddedConfig()
    slides, pans = [], []
    for number in range(300):
        c2w, times = draw_camera(np.random.default_rng(number), config)
        assert times[0] == 0
        assert times[-1] == 1
        assert (np.diff(times) >= 0).all()
        slides.append(c2w[-1, 0, 3] - c2w[0, 0, 3])
        pans.append(np.arctan2(c2w[-1, 0, 2], c2w[-1, 0, 0]) - np.arctan2(c2w[0, 0, 2], c2w[0, 0, 0]))
    slides, pans = np.array(slides), np.array(pans)
    assert np.abs(slides).max() <= config.slide
    assert np.abs(pans).max() <= config.pan
    assert 0.4 < (slides > 0).mean() < 0.6
    assert 0.12 < (np.abs(pans) < 0.1 * config.pan).mean() < 0.28
    assert 0.12 < (np.abs(slides) < 0.1 * config.slide).mean() < 0.28


def test_actors_are_more_saturated_than_furniture():
    def saturation(texture: np.ndarray) -> float:
        return float(cv2.cvtColor(texture, cv2.COLOR_RGB2HSV)[..., 1].mean())

    rng = np.random.default_rng(0)
    furniture = [saturation(furniture_texture(rng, detail=6, contrast=0.2, side=64)) for _ in range(30)]
    actors = [saturation(actor_texture(rng, detail=6, side=64)) for _ in range(30)]
    assert np.median(actors) > np.quantile(furniture, 0.9)


def test_clips_do_not_depend_on_the_number_of_processes():
    config = EmbeddedConfig(frames=4, splits={"a": EmbeddedSplit(scenes=9, movers="actors")})
    one, two = (
        list(iterate_clips(config, "a", lambda made: made.rendering.frames.sum(), image_size=16, threads=1)),
        list(iterate_clips(config, "a", frame_bytes_sum, image_size=16, threads=2)),
    )
    assert one == two
    assert len(set(one)) == 9  # and all differ


def frame_bytes_sum(made) -> int:
    return made.rendering.frames.sum()


def test_seed_of_follows_the_chain_and_refuses_a_circle():
    split = EmbeddedSplit(scenes=1)
    chain = {
        "a": split,
        "b": split.model_copy(update={"reuse_seed_of": "a"}),
        "c": split.model_copy(update={"reuse_seed_of": "b"}),
    }
    assert seed_name(EmbeddedConfig(splits=chain), "c") == "a"
    chain["a"] = split.model_copy(update={"reuse_seed_of": "c"})
    with pytest.raises(ValueError, match=r"c\.reuse_seed_of runs in a circle: c → b → a → c"):
        seed_name(EmbeddedConfig(splits=chain), "c")
    with pytest.raises(ValueError, match="has no 'd'"):
        seed_name(EmbeddedConfig(splits=chain), "d")


def test_the_packages_ship_the_photographs_that_the_data_set_was_recorded_with():
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in photograph_files())).hexdigest()
    assert digest == "730cd56a8579a828a6bdda3f99ac0ee084f11df88ef60829b16f2e88662d188e"


def test_twins_share_camera_paths_and_times_clip_by_clip_in_other_rooms():
    twin = EmbeddedSplit(scenes=2, reuse_cameras_of="still")
    config = EmbeddedConfig(frames=4, supersampling=1, splits={"still": EmbeddedSplit(scenes=2), "twin": twin})
    clips = {
        name: list(iterate_clips(config, name, lambda made: made, image_size=24, threads=1)) for name in config.splits
    }
    for one, other in zip(clips["still"], clips["twin"], strict=True):
        np.testing.assert_array_equal(one.clip.c2w, other.clip.c2w)
        np.testing.assert_array_equal(one.clip.times, other.clip.times)
        assert not np.array_equal(one.clip.room_textures, other.clip.room_textures)
        assert not np.array_equal(one.clip.room_half, other.clip.room_half)
