"""The view curriculum: ranges by hand, draws that follow the step, overlap of views, cameras of samples."""

import math

import numpy as np
import pytest
import torch

from wildrayzer.config import CurriculumConfig, PretrainConfig, StageConfig, ViewsConfig
from wildrayzer.config.sections.data import StoreConfig
from wildrayzer.data.frame_store.store import FrameStore, FrameStoreWriter, StoreForm
from wildrayzer.data.sampling.overlap import overlap_with_first
from wildrayzer.data.sampling.views import Augmentation, ViewDataset, draw_views, view_order
from wildrayzer.geometry.cameras import Cameras, normalise_poses
from wildrayzer.geometry.rays import plucker_rays
from wildrayzer.training.data import BatchBuilder, BatchSampler

RAYZER = ViewsConfig(
    inputs=(3,), targets=2, min_distance=64, max_distance=96, curriculum={"steps": 30_000, "start": (48, 64)}
)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, (48, 64)), (15_000, (56, 80)), (30_000, (64, 96)), (80_000, (64, 96)), (None, (64, 96)), (1_000, (48, 65))],
)
def test_ranges_by_hand(step, expected):
    assert RAYZER.distances(step) == expected


def test_the_range_of_overlap_moves_too():
    views = RAYZER.model_copy(
        update={"curriculum": CurriculumConfig(by="overlap", steps=100, start=(1.0, 1.0), final=(0.5, 1.0))}
    )
    assert [views.overlaps(step) for step in (0, 50, 100, 400)] == [(1, 1), (0.75, 1), (0.5, 1), (0.5, 1)]
    assert views.distances(0) == (64, 96)
    assert RAYZER.overlaps(0) is None


def test_draws_stay_in_the_range_of_their_step_and_repeat_no_frame():
    for step, (low, high) in ((0, (48, 64)), (15_000, (56, 80)), (30_000, (64, 96))):
        drawn = np.stack(
            [draw_views(np.random.default_rng(n), 400, inputs=3, views=RAYZER, step=step) for n in range(300)]
        )
        distance = np.abs(drawn[:, 1] - drawn[:, 0])
        assert (distance.min(), distance.max()) == (low, high)
        assert all(len(set(row)) == 5 for row in drawn.tolist())


def test_the_largest_distance_is_capped_by_the_clip():
    drawn = np.stack(
        [draw_views(np.random.default_rng(n), 71, inputs=3, views=RAYZER, step=30_000) for n in range(100)]
    )
    assert set(np.abs(drawn[:, 1] - drawn[:, 0])) == set(range(64, 71))


def cameras_along_x(count, spacing=0.5):
    """Cameras side by side that all look along z, with a field of view of 90°."""
    c2w = np.tile(np.eye(4), (count, 1, 1))
    c2w[:, 0, 3] = spacing * np.arange(count)
    return c2w, np.tile([0.5, 0.5, 0.5, 0.5], (count, 1))


def test_overlap_by_hand():
    # At depth 2 a view is 4 wide: a camera beside it by 1 sees three quarters of it.
    c2w, intrinsics = cameras_along_x(10)
    assert overlap_with_first(c2w, intrinsics, depth=2.0)[[0, 2, 4, 8]].tolist() == [1.0, 0.75, 0.5, 0.0]
    behind = c2w[:2].copy()
    behind[1, :3, :3] = np.diag([-1.0, 1.0, -1.0])
    assert overlap_with_first(behind, intrinsics[:2], depth=2.0).tolist() == [1.0, 0.0]
    wide = np.array([[0.5, 0.5, 0.5, 0.5], [1.0, 1.0, 0.5, 0.5]])
    assert overlap_with_first(c2w[[0, 0]], wide, depth=2.0)[1] == pytest.approx((0.25 + 1.0) / 2)


def test_end_frames_have_the_overlap_of_their_step():
    views = ViewsConfig(
        inputs=(2,), targets=1, min_distance=2, max_distance=20,
        curriculum={"by": "overlap", "steps": 10, "start": (0.9, 1.0), "final": (0.25, 0.5), "depth": 2.0},
    )  # fmt: skip
    cameras = cameras_along_x(40, spacing=0.1)
    for step, (low, high) in ((0, (0.9, 1.0)), (5, (0.575, 0.75)), (10, (0.25, 0.5))):
        found = []
        for seed in range(40):
            drawn = draw_views(np.random.default_rng(seed), 40, inputs=2, views=views, step=step, cameras=cameras)
            ends = sorted(drawn[:2].tolist())
            assert 2 <= ends[1] - ends[0] <= 20
            if ends[0] < 20:  # else the clip ends before the views overlap so little, and the nearest is taken
                found.append(overlap_with_first(cameras[0][ends], cameras[1][ends], depth=2.0)[1])
        assert min(found) >= max(low, 0.5) - 0.05 - 1e-9, "20 frames apart, half of a view is left"
        assert max(found) <= max(high, 0.5) + 0.05 + 1e-9


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FrameStore:
    """Clips of 12 and 8 frames with cameras."""
    path = tmp_path_factory.mktemp("store") / "a.zarr"
    generator = np.random.default_rng(0)
    with FrameStoreWriter(path, StoreForm(8, StoreConfig())) as writer:
        for scene, length in enumerate((12, 8)):
            frames = generator.integers(0, 255, (length, 8, 8, 3), dtype=np.uint8)
            c2w, intrinsics = cameras_along_x(length)
            c2w[:, 1, 3] = generator.normal(size=length)
            writer.add_scene(f"s{scene}", frames, c2w=c2w, intrinsics=intrinsics * [1, 1, 0.9, 1.1])
    return FrameStore(path, preload_mb=1)


def builder(store, **options):
    views = ViewsConfig(
        inputs=(2,), targets=2, min_distance=7, max_distance=9, curriculum={"steps": 6, "start": (3, 4)}, **options
    )
    stage = StageConfig(steps=6, batch=2, micro_batch=2, views=views)
    static = ViewDataset(store, views, seed=4, cameras=True)
    sampler = BatchSampler(stage, {"static": static.usable}, seed=4)
    return BatchBuilder(stage=stage, sampler=sampler, static=static, grid=2, seed=4)


def test_a_run_resumed_in_mid_ramp_sees_the_views_of_an_uninterrupted_one(store):
    whole = builder(store)
    batches = [whole.build(step, rank=0, world=1)[0] for step in range(6)]
    resumed = builder(store)
    for step in range(3, 6):
        (again,) = resumed.build(step, rank=0, world=1)
        assert torch.equal(again.images, batches[step].images)
        assert torch.equal(again.c2w, batches[step].c2w)


def test_a_sample_depends_on_seed_epoch_scene_and_step(store):
    views = builder(store).stage.views
    one, two = (ViewDataset(store, views, seed=4) for _ in range(2))
    two.sample(0, 1, 2, step=5)
    assert one.sample(3, 0, 2, step=2)["frames"].tolist() == two.sample(3, 0, 2, step=2)["frames"].tolist()
    spans = [np.ptp(one.sample(3, 0, 2, step=step)["frames"]) for step in (0, 6)]
    assert spans[0] <= 4 < 7 <= spans[1]


def test_clips_too_short_for_any_step_are_left_out_and_counted(store):
    views = ViewsConfig(
        inputs=(2,), targets=1, min_distance=3, max_distance=4, curriculum={"steps": 5, "start": (8, 10)}
    )
    source = ViewDataset(store, views, seed=0)
    assert source.usable.tolist() == [0]
    assert source.skipped == {"fewer than 9 frames": 1}


def test_targets_may_be_inputs_and_cameras_are_normalised_over_all_views_drawn(store):
    source = ViewDataset(store, ViewsConfig(inputs=(2,), targets=3, min_distance=4, repeat_inputs=True), seed=1,
                         cameras=True)  # fmt: skip
    repeated = 0
    for epoch in range(30):
        sample = source.sample(epoch, 0, 2)
        inputs, targets = sample["frames"][:2].tolist(), sample["frames"][2:].tolist()
        assert len(set(targets)) == 3
        repeated += bool(set(inputs) & set(targets))
        rng = np.random.default_rng((1, epoch, 0, 2))
        drawn = draw_views(rng, 12, inputs=2, views=source.views, step=0)
        order = view_order(rng, inputs=2, views=source.views)
        assert sample["frames"].tolist() == drawn[order].tolist()
        c2w = normalise_poses(torch.from_numpy(store.cameras(drawn)[0].astype(np.float32)))[order]
        assert torch.allclose(torch.from_numpy(sample["cameras"][0]), c2w)
    assert 20 < repeated < 30  # all three targets of five views are others in one case of ten


def test_inputs_may_be_any_views(store):
    views = ViewsConfig(inputs=(2,), targets=2, min_distance=5, max_distance=9, input_views="random")
    ends = 0
    for seed in range(200):
        drawn = draw_views(np.random.default_rng(seed), 12, inputs=2, views=views)
        assert len(set(drawn.tolist())) == 4
        ends += set(drawn[:2]) == {drawn.min(), drawn.max()}
    assert 15 < ends < 55  # one case of six


def test_cameras_of_turned_frames_see_them():
    """Pixel (x, y) of a mirrored frame has the ray of pixel (-x, y), mirrored."""
    generator = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    c2w = torch.eye(4)[None].clone()
    c2w[0, :3, :3] = turn * torch.linalg.det(turn)
    c2w[0, :3, 3] = torch.tensor([0.3, -0.2, 0.1])
    intrinsics = torch.tensor([[0.9, 1.1, 0.4, 0.6]])
    plain = plucker_rays(Cameras(c2w[None], intrinsics[None]), 4, 4)[0, 0]
    for mirror, flip in ((True, False), (False, True), (True, True)):
        done = Augmentation(mirror=mirror, flip=flip)
        other, lens = (torch.from_numpy(one) for one in done.apply_cameras((c2w.numpy(), intrinsics.numpy())))
        assert torch.linalg.det(other[0, :3, :3]) == pytest.approx(1.0, abs=1e-5)
        found = plucker_rays(Cameras(other[None], lens[None]), 4, 4)[0, 0]
        signs = torch.tensor([-1.0 if mirror else 1.0, -1.0 if flip else 1.0, 1.0])
        expected = plain.flip([axis for axis, on in ((2, mirror), (1, flip)) if on])
        assert torch.allclose(found[3:], expected[3:] * signs[:, None, None], atol=1e-6)
        # A moment is a cross product, whose sign changes with every reflection.
        assert torch.allclose(found[:3], math.prod(signs.tolist()) * expected[:3] * signs[:, None, None], atol=1e-6)


@pytest.mark.parametrize(
    ("curriculum", "message"),
    [
        ({"start": (64, 48)}, r"curriculum\.start = \[64, 48\] is no range of whole frames"),
        ({"start": (0.5, 20)}, r"curriculum\.start = \[0\.5, 20\] is no range of whole frames"),
        ({"start": (40, 60), "final": (1, 2)}, r"curriculum\.by: distance ends at views\.min_distance"),
        ({"by": "overlap", "start": (1, 1)}, r"curriculum\.by: overlap needs curriculum\.final"),
        ({"by": "overlap", "start": (1, 1), "final": (0.5, 1.5)}, r"curriculum\.final = .* no range of shares"),
        ({"start": (2, 4)}, r"views\.curriculum\.start = \[2, 4\] leaves 3 frames .*targets = 6 distinct ones"),
    ],
)
def test_impossible_curricula_are_refused_by_name(curriculum, message):
    with pytest.raises(ValueError, match=message):
        ViewsConfig(inputs=(2,), targets=6, curriculum={"steps": 10, **curriculum})


@pytest.mark.parametrize(
    ("stage", "options"), [(PretrainConfig, {"views": RAYZER}), (StageConfig, {"dynamic_views": RAYZER,
     "views": RAYZER.model_copy(update={"curriculum": None})})],
)  # fmt: skip
def test_a_curriculum_longer_than_its_stage_is_refused_by_name(stage, options):
    name = "dynamic_views" if "dynamic_views" in options else "views"
    with pytest.raises(ValueError, match=rf"{name}\.curriculum\.steps = 30000 is more than steps = 29999"):
        stage(steps=29_999, **options)
    stage(steps=30_000, **options)


def test_a_store_without_cameras_is_refused_by_name(tmp_path):
    with FrameStoreWriter(tmp_path / "a.zarr", StoreForm(8, StoreConfig(), cameras=False)) as writer:
        writer.add_scene("s", np.zeros((9, 8, 8, 3), np.uint8))
    views = ViewsConfig(inputs=(2,), targets=2, min_distance=3)
    with pytest.raises(ValueError, match=r"a\.zarr holds no cameras, which model\.cameras: given needs"):
        ViewDataset(FrameStore(tmp_path / "a.zarr"), views, seed=0, cameras=True)
    overlap = {"by": "overlap", "steps": 5, "start": (1, 1), "final": (0.5, 1)}
    by_overlap = views.model_copy(update={"curriculum": CurriculumConfig(**overlap)})
    with pytest.raises(ValueError, match=r"holds no cameras, which views\.curriculum\.by: overlap needs"):
        ViewDataset(FrameStore(tmp_path / "a.zarr"), by_overlap, seed=0)
