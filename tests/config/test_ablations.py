"""Ablations: what they share with the run, where they lie, and the tables that set them beside it."""

import copy
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tests.evaluation.test_tables import CONTEXT, mask_rows, scores_of, view_rows
from wildrayzer.checkpoint import load_checkpoint, save_checkpoint
from wildrayzer.config import ConfigError, parse_config
from wildrayzer.config.sections.ablations import BUILT_IN
from wildrayzer.config.variants import ablations_of, own_stages, variant_of
from wildrayzer.evaluation.tables.paper import ablation_table
from wildrayzer.evaluation.tables.scores import write_scores
from wildrayzer.evaluation.tables.tables import TableContext, build_tables
from wildrayzer.models import WildRayZer
from wildrayzer.report.sections.ablations import ablation_blocks
from wildrayzer.run.expected import ExpectedScores, ablation_scores, compared_files, expected_scores
from wildrayzer.run.layout import RunLayout
from wildrayzer.stages.write_tables import load_tables, write_tables

RAW = yaml.safe_load(Path("tests/resources/tiny.yaml").read_text(encoding="utf-8"))


def run(**ablations):
    raw = copy.deepcopy(RAW)
    raw["ablations"] = ablations
    return parse_config(raw)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("dino_only", {"pseudo_masks"}),
        ("ssim_only", {"pseudo_masks"}),
        ("no_features", {"distill"}),
        ("paste_only", {"distill", "masked", "joint"}),
        ("pseudo_only", {"joint"}),
        ("random_tokens", {"masked", "joint"}),
        ("no_masked", {"joint"}),
        ("cross_view", {"distill", "masked", "joint"}),
        ("two_rounds", {"residuals", "pseudo_masks", "refine", "distill", "masked", "joint"}),
    ],
)
def test_built_in_ablations_share_what_comes_before_their_change(name, own):
    assert own_stages(run(), name, BUILT_IN[name]) == own


def test_ablations_that_change_nothing_in_a_run_are_left_out():
    assert set(ablations_of(run())) == set(BUILT_IN)
    raw = copy.deepcopy(RAW)
    raw["masked"] = None
    assert set(BUILT_IN) - set(ablations_of(parse_config(raw))) == {"random_tokens", "no_masked"}


def test_a_variant_is_the_run_with_its_changes():
    config = run()
    variant = variant_of(config, "dino_only", BUILT_IN["dino_only"])
    assert (variant.pseudo_masks.weighting, variant.pseudo_masks.dino_weight) == ("fixed", 1.0)
    assert variant.model_copy(update={"pseudo_masks": config.pseudo_masks}) == config


@pytest.mark.parametrize(
    ("changes", "until", "message"),
    [
        ({"model.width": 64}, "joint", "ablations.mine: model.width cannot be changed"),
        ({"residuals.targets": 3}, "joint", "ablations.mine: residuals.targets cannot be changed"),
        ({"data.static_train": "x"}, "joint", "data.static_train cannot be changed"),
        ({"distill.stepz": 3}, "joint", "distill.stepz: unknown option; did you mean 'steps'?"),
        ({"refine.min_area": 2.0}, "joint", "refine.min_area = 2.0"),
        ({"joint.steps": 9}, "distill", "ablations.mine changes nothing up to its last stage, distill"),
        ({"joint.steps": 6}, "joint", "ablations.mine changes nothing"),
        ({"rounds": 2, "joint.steps": 9}, "joint", "ablations.mine changes rounds and joint; change one of them"),
        ({"refine.min_area.low": 1}, "joint", "refine.min_area.low is not there to change (min_area is 0.0025)"),
    ],
)
def test_impossible_ablations_are_refused_by_name(changes, until, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        run(mine={"changes": changes, "until": until})


def test_paths_of_shared_stages_are_the_runs():
    layout = ablation_scores(run(), "pseudo_only").layout
    assert layout.checkpoint("joint", "{round}") == "results/tiny/ablations/pseudo_only/round{round}/joint/checkpoint"
    for path in ("pretrain", None), ("distill", 1), ("masked", 1):
        assert layout.checkpoint(*path) == RunLayout("tiny").checkpoint(*path)
    assert layout.pixel_masks(1, "dynamic_train") == RunLayout("tiny").pixel_masks(1, "dynamic_train")
    assert layout.log("joint", "round1") == "results/tiny/ablations/pseudo_only/logs/joint/round1.log"
    assert layout.state("joint", 1) == "results/tiny/ablations/pseudo_only/state/round1-joint"
    votes = ablation_scores(run(), "dino_only").layout
    assert votes.residuals(1, "pairs_test") == RunLayout("tiny").residuals(1, "pairs_test")
    assert votes.patch_masks(1, "a") == "results/tiny/ablations/dino_only/round1/masks/a/renderer/patch_masks.json"
    assert votes.thresholds(1) == "results/tiny/ablations/dino_only/round1/masks/thresholds-renderer.json"


def test_a_second_round_shares_the_first():
    layout = ablation_scores(run(), "two_rounds").layout
    assert layout.checkpoint("joint", 1) == RunLayout("tiny").checkpoint("joint", 1)
    assert "ablations/two_rounds/round2" in layout.checkpoint("joint", 2)


def test_scores_of_an_ablation_and_what_they_are_compared_with():
    config = run(few={"changes": {"refine.min_area": 0.1}, "until": "refine", "splits": ["pairs_test"]})
    few = ablation_scores(config, "few")
    assert few.files() == ["results/tiny/ablations/few/scores/masks/renderer-pairs_test.csv"]
    main = ExpectedScores(config, RunLayout("tiny"))
    assert compared_files(main, few) == ["results/tiny/scores/masks/renderer-pairs_test.csv"]
    joint = ablation_scores(config, "pseudo_only")
    assert joint.view_jobs() == [("joint", "static_test", 2), ("joint", "pairs_test", 2)]
    assert joint.mask_jobs() == []
    assert joint.input_mask_jobs() == [("joint", "static_test"), ("joint", "pairs_test"), ("joint", "frozen_test")]
    assert set(compared_files(main, joint)) <= set(main.files())


def test_a_module_knows_its_ablation():
    main, changed = expected_scores({**RAW, "ablation": "dino_only"})
    assert changed.ablation == "dino_only"
    assert changed.config.pseudo_masks.dino_weight == 1.0
    assert main == run()
    assert expected_scores(RAW)[1].ablation is None


def test_the_table_sets_an_ablation_beside_the_run():
    scores = scores_of(
        mask_rows("pseudo:renderer", "dynamic_test", 0.5, 0.2, scenes=5),
        mask_rows("pseudo:renderer@dino_only", "dynamic_test", 0.3, 0.1, scenes=5),
        view_rows("joint"),
    )
    table = ablation_table(scores, {"dino_only": "features alone"}, resamples=100, seed=0)
    assert table.rows == (
        ("dino_only", "pseudo:renderer, iou", "dynamic_test", "2", "50.2 ± 0.1", "30.2 ± 0.1", "20.0 [20.0, 20.0]",
         "5"),
        ("dino_only", "pseudo:renderer, coverage", "dynamic_test", "2", "20.2 ± 0.1", "10.2 ± 0.1",
         "10.0 [10.0, 10.0]", "5"),
    )  # fmt: skip
    assert "dino_only: features alone." in table.notes
    assert ablation_table(scores_of(view_rows("joint")), {}, resamples=100, seed=0) is None


def test_an_ablation_scored_on_fewer_scenes_is_compared_on_those():
    base = mask_rows("pseudo:renderer", "dynamic_test", 0.5, 0.2, scenes=5)
    fewer = mask_rows("pseudo:renderer@dino_only", "dynamic_test", 0.3, 0.1, scenes=3)
    table = ablation_table(scores_of(base, fewer), {}, resamples=100, seed=0)
    # scenes 0 to 4 have 50.0 to 50.4; the mean of the first three is 50.1, of all it would be 50.2
    assert table.rows[0][4].startswith("50.1 ± ")
    assert table.rows[0][-1] == "3"
    assert "dino_only, dynamic_test: 2 scenes scored on one side alone." in table.notes


def write_files(rows, file):
    about = {"kind": "masks", "method": rows[0][0], "split": rows[0][1], "inputs": 2}
    about |= {"scenes_of_split": 5, "skipped_scenes": {}, "digests": {}}
    write_scores(rows, file, Path(file).with_suffix(".json"), about)
    return file


def test_the_report_has_the_tables_of_ablations_unless_the_run_was_scored_since(tmp_path):
    config = run()
    layout = RunLayout(config.name, str(tmp_path))
    changed = ablation_scores(config, "dino_only", root=str(tmp_path))
    files = [
        write_files(mask_rows("pseudo:renderer", "pairs_test", 0.5, 0.2), layout.mask_scores("renderer", "pairs_test")),
        write_files(mask_rows("pseudo:renderer@dino_only", "pairs_test", 0.3, 0.1),
                    changed.layout.mask_scores("renderer", "pairs_test")),
    ]  # fmt: skip
    manifests = [Path(file).with_suffix(".json") for file in files]
    write_tables(load_tables(files, manifests, [], TableContext.from_config(config)), changed.layout.tables)
    facts, table = ablation_blocks(config, layout)
    assert facts.rows == (("dino_only", 'pseudo_masks.weighting: "fixed"; pseudo_masks.dino_weight: 1.0'),)
    assert [row[:3] for row in table.rows] == [
        ("dino_only", "pseudo:renderer, iou", "pairs_test"),
        ("dino_only", "pseudo:renderer, coverage", "pairs_test"),
    ]
    made = (Path(changed.layout.tables) / "tables.md").stat().st_mtime
    os.utime(files[0], (made + 1, made + 1))
    (note,) = ablation_blocks(config, layout)
    assert note.text.startswith("dino_only was compared with earlier scores of the run")


def test_claims_about_ablations_are_made_where_they_are_scored():
    plain = scores_of(mask_rows("pseudo:renderer", "dynamic_test", 0.5, 0.2))
    assert not any("alone" in finding.claim for finding in build_tables(plain, [], [], CONTEXT).findings)
    more = scores_of(
        mask_rows("pseudo:renderer", "dynamic_test", 0.5, 0.2),
        mask_rows("pseudo:renderer@dino_only", "dynamic_test", 0.3, 0.1),
        mask_rows("pseudo:renderer@ssim_only", "dynamic_test", 0.7, 0.1),
        mask_rows("head:distill", "dynamic_test", 0.4, 0.1),
        mask_rows("head:distill@paste_only", "dynamic_test", 0.1, 0.1),
    )
    found = {(f.claim, f.verdict) for f in build_tables(more, [], [], CONTEXT).findings if "dynamic" in f.where}
    assert {
        ("fused maps beat features alone", "holds"),
        ("fused maps beat SSIM alone", "does not hold"),
        ("pseudo-masks teach more than pasted objects", "holds"),
    } <= found


def test_copy_paste_only_in_the_run_brings_its_claim_on_what_is_scored():
    raw = yaml.safe_load(Path("config/demo.yaml").read_text(encoding="utf-8"))
    raw["benchmark"]["ablations"] = ["paste_only"]
    raw["ablations"]["paste_only"]["splits"] = ["dynamic_test"]
    config = parse_config(raw)
    changed = ablation_scores(config, "paste_only")
    assert {name for name, _ in changed.input_mask_jobs()} == {"distill"}
    main = ExpectedScores(config, RunLayout(config.name))
    assert {main.layout.head_scores(*job) for job in changed.input_mask_jobs()} <= set(compared_files(main, changed))
    rows = [
        mask_rows(f"head:distill{suffix}", split, iou, 0.1)
        for suffix, iou, splits in (("", 0.4, main.mask_splits()), ("@paste_only", 0.1, changed.mask_splits()))
        for split in splits
    ]
    findings = build_tables(scores_of(*rows), [], [], TableContext.from_config(config)).findings
    found = [(f.where, f.compared, f.verdict) for f in findings if "pasted objects" in f.claim]
    assert found == [("dynamic_test, 2 inputs", "head:distill − head:distill@paste_only, mask iou", "holds")]


def test_another_head_starts_afresh_on_the_same_renderer(tmp_path):
    from wildrayzer.training.job import TrainingJob
    from wildrayzer.training.starting_weights import initial_model

    config = run()
    torch.manual_seed(5)
    save_checkpoint(tmp_path, WildRayZer(config.model), stage="pretrain", step=1, inputs=2, targets=2, config_digest="")
    variant = variant_of(config, "no_features", BUILT_IN["no_features"])

    def job(recipe, model):
        stage = variant.stage(recipe)
        return TrainingJob(
            recipe=recipe, seed=0, stage=stage, model=model, perceptual=config.perceptual, device="cpu", threads=1,
            processes=1, preload_mb=0, parent=str(tmp_path), static_store="", state="", checkpoint="", metrics="",
        )  # fmt: skip

    model, parent = initial_model(job("distill", variant.model)), load_checkpoint(tmp_path)[0]
    assert model.motion_head.features is None
    for name, value in parent.state_dict().items():
        if not name.startswith("motion_head."):
            assert torch.equal(model.state_dict()[name], value)
    same = initial_model(job("distill", config.model)).state_dict()
    assert all(torch.equal(same[name], value) for name, value in parent.state_dict().items())
    with pytest.raises(ValueError, match=r"model\.motion_head is"):
        initial_model(job("joint", variant.model))
    assert np.isfinite(sum(float(p.detach().sum()) for p in model.parameters()))
