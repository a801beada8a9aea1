"""Targets of ablations and of rows from outside, as dry runs."""

from tests.test_workflow import TRAINING, planned, snakemake


def of(jobs, ablation):
    """Rules of an ablation's own."""
    return {name.removeprefix(f"{ablation}_") for name in jobs if name.startswith(f"{ablation}_")}


def test_an_ablation_of_voting_shares_rendering_and_trains_nothing(tmp_path):
    jobs = planned(tmp_path, "--", "ablation_dino_only")
    assert of(jobs, "dino_only") == {"calibrate_threshold", "vote_masks", "score_masks", "write_tables"}
    assert {"residual_part", "score_masks"} <= set(jobs)
    assert TRAINING & set(jobs) == {"train_pretrain"}


def test_an_ablation_of_training_makes_its_stages_and_no_more(tmp_path):
    jobs = planned(tmp_path, "--", "ablation_no_masked", "ablation_two_rounds")
    assert of(jobs, "no_masked") == {"train_joint", "score_views", "score_input_masks", "write_tables"}
    second = {"residual_part", "join_residuals", "calibrate_threshold", "vote_masks", "refine_masks"}
    trained = {"train_distill", "train_masked", "train_joint"}
    scored = {"score_views", "score_masks", "score_input_masks", "write_tables"}
    assert of(jobs, "two_rounds") == second | trained | scored
    assert [jobs[name] for name in ("train_pretrain", "train_distill", "train_joint")] == [1, 1, 1]


def test_ablations_of_the_tables_are_part_of_a_run(tmp_path):
    alone, with_one = (
        planned(tmp_path, *more, "--", "benchmark_tables")
        for more in ([], ["--config", "benchmark={ablations: [ssim_only]}"])
    )
    assert {name for name in with_one if name not in alone} == {
        "ssim_only_calibrate_threshold", "ssim_only_vote_masks", "ssim_only_score_masks",
    }  # fmt: skip


def test_rows_from_outside_are_planned_and_their_folders_asked_for_first(tmp_path):
    (tmp_path / "masks").mkdir()
    (tmp_path / "released").mkdir()
    rows = (
        "benchmark={methods: [nearest, static, static_coseg, joint], masks: {sav: {folders: {pairs_test: masks}}}, "
        "checkpoints: {released: {path: released}}, sets: {wide: {split: static_test, inputs: [2], targets: 4}}}"
    )
    jobs = planned(tmp_path, "--config", rows, "--", "benchmark_tables")
    # pairs: four methods, the masks' row and the checkpoint; static and wide: three methods and the checkpoint
    assert jobs["score_views"] == 6 + 4 + 4
    # distilled and joint head, co-segmentation and the checkpoint on three splits, the masks on one
    assert jobs["score_input_masks"] == 4 * 3 + 1
    (tmp_path / "masks").rmdir()
    result = snakemake(tmp_path, "--dry-run", "--config", rows, "--", "benchmark_tables", check=False)
    said = result.stdout + result.stderr
    assert "MissingInputException" in said
    assert "masks" in said
