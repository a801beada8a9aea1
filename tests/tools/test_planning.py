"""The plan of a run: work, rates, tables, and its comparison with a finished run."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.helpers.tiny_run import planned
from wildrayzer.cli.main import app
from wildrayzer.config import BenchmarkConfig, FeaturesConfig, ResidualsConfig, load_config, parse_config
from wildrayzer.config.sections.stages import stage_options
from wildrayzer.models.cost.flops import model_cost, total
from wildrayzer.models.torchvision_guard import ensure_torchvision
from wildrayzer.run.layout import RunLayout
from wildrayzer.tools.planning.backbone_memory import image_bytes, memory_table
from wildrayzer.tools.planning.cost_table import RULES, MeasuredCost, comparison, cost_table, duration, measured, size
from wildrayzer.tools.planning.forecast import Rates, forecast, gpu_rates, loader_lines, measured_step_rate
from wildrayzer.tools.planning.jobs import planned_stages, training_operations
from wildrayzer.tools.planning.machine import gpu_specs, matmul_rate
from wildrayzer.tools.planning.savings import COSTLIEST, saving_lines
from wildrayzer.tools.planning.split_sizes import split_sizes
from wildrayzer.tools.planning.stage import PlannedStage
from wildrayzer.tools.planning.work import (
    TIMM,
    BackboneSizes,
    backbone_cost,
    backbone_sizes,
    clustering_cost,
    load_seconds,
    lpips_cost,
    ssim_cost,
    vgg19_cost,
)
from wildrayzer.training.objective import RECIPES, workload

ROOT = Path(__file__).parents[2]
PAPER = load_config(ROOT / "config" / "paper.yaml")
TINY = load_config(Path(__file__).parents[1] / "resources" / "tiny.yaml")


def squeezed(text):
    """A table without the spaces that line up its columns."""
    return re.sub(" +", " ", text)


def stages_of(config, tmp_path):
    sizes = split_sizes(config, RunLayout(config.name, str(tmp_path)))
    return {stage.name: stage for stage in planned_stages(config, sizes)}, sizes


def test_training_operations_are_steps_times_passes():
    stage = TINY.stage("pretrain")
    step = total(model_cost(TINY.model, workload(RECIPES["pretrain"], stage, batch=2))).total
    # 6 steps of 4 samples in micro-batches of 2
    assert training_operations(TINY, "pretrain", stage) == pytest.approx(6 * 2 * step)


@pytest.mark.parametrize("recipe", ["pretrain", "distill", "masked", "joint"])
def test_twice_the_steps_are_twice_the_operations(recipe):
    stage = stage_options(PAPER.stage(recipe))
    longer = stage.model_copy(update={"steps": 2 * stage.steps})
    once, twice = (training_operations(PAPER, recipe, one) for one in (stage, longer))
    assert twice == pytest.approx(2 * once)


def test_mixed_inputs_are_averaged_and_micro_batches_add_up(tmp_path):
    stage = TINY.stage("pretrain").model_copy(
        update={"views": TINY.stage("pretrain").views.model_copy(update={"inputs": (2, 3)}), "micro_batch": 4}
    )
    steps = [
        total(model_cost(TINY.model, workload(RECIPES["pretrain"], stage, batch=4, inputs=k))).total for k in (2, 3)
    ]
    assert training_operations(TINY, "pretrain", stage) == pytest.approx(6 * sum(steps) / 2)


def test_pretext_and_pretrained_are_planned(tmp_path):
    stage = TINY.stage("pretrain").model_copy(
        update={"crop_pretext": TINY.stage("pretrain").crop_pretext.model_copy(update={"steps": 3})}
    )
    assert training_operations(TINY, "pretrain", stage) > training_operations(TINY, "pretrain", TINY.stage("pretrain"))
    stages, _ = stages_of(TINY.model_copy(update={"pretrained": "somewhere"}), tmp_path)
    assert stages["pretrain"].operations == {}


def test_vgg_by_hand():
    # one image of 16 px: the first convolution alone is 2 · 256 · 27 · 64 operations
    first = 2 * 256 * 27 * 64
    rest = 2 * 9 * (256 * 64 * 64 + 64 * (64 + 128) * 128 + 16 * (128 + 3 * 256) * 256 + 4 * (256 + 3 * 512) * 512)
    last = 2 * 9 * 2 * 512 * 512
    cost = vgg19_cost(1, 16)
    assert cost.backward == first + rest + last
    assert cost.forward == 2 * cost.backward


def test_measures_by_hand():
    # one image of 16 px: convolutions at sides 16, 8, 4, 2 and 1, of target and rendering
    convolutions = 256 * (3 * 64 + 64 * 64) + 64 * (64 + 128) * 128 + 16 * (128 + 2 * 256) * 256
    convolutions += 4 * (256 + 2 * 512) * 512 + 3 * 512 * 512
    assert lpips_cost(1, 16).forward == 2 * 2 * 9 * convolutions
    # x, y, x², y² and xy of three channels, filtered along both axes by matrices of 16 × 16
    assert ssim_cost(2, 16).forward == 2 * 5 * 3 * 2 * 2 * 16**3
    # 2 frames of 4 patches, 3 channels, 8 clusters: 7 draws of 4 candidates, then one assignment and two of the three
    options = ResidualsConfig(targets=2, clusters=8, kmeans_iterations=1, kmeans_restarts=2)
    assert clustering_cost(options, 4, 3).forward == 2 * (2 * 8 * 3) * (4 * 7 + 3 * 8)


def test_a_gpu_waits_for_the_weights_of_the_backbone():
    sizes = BackboneSizes(width=1000, blocks=10, hidden=3000, gated=True)
    assert sizes.stored == 4 * 10 * (4 * 1000**2 + 3 * 1000 * 3000)
    assert load_seconds(sizes, 1) == pytest.approx(2 * sizes.stored / 1e9)
    assert load_seconds(sizes, 0) == load_seconds(None, 1) == 0


def test_what_the_papers_configuration_saves(tmp_path):
    sizes, rates = split_sizes(PAPER, RunLayout("paper", str(tmp_path))), gpu_rates(PAPER, share=None, rate=None)
    hours = sum(one.gpu_hours for one in forecast(planned_stages(PAPER, sizes), rates))
    assert hours < 75
    *single, both = saving_lines(PAPER, sizes, rates)
    assert [line.split(": ")[0] for line in single] == [f"- {option}" for option in COSTLIEST]
    saved = [float(re.search(r"saves (\S+) GPU-hours", line)[1]) for line in single]
    assert min(saved) > 0.3
    without, now = (float(number) for number in re.findall(r"\d+\.\d", both))
    assert now == pytest.approx(hours, abs=0.06)
    assert without - now > sum(saved)  # static clips in float32 are saved twice, and counted once each
    plain = PAPER.model_copy(update={"residuals": ResidualsConfig(), "benchmark": BenchmarkConfig()})
    assert list(saving_lines(plain, sizes, rates)) == []


def test_backbone_by_hand(tmp_path):
    sizes = BackboneSizes(width=4, blocks=2, hidden=8, gated=False, patch=2, extra_tokens=1)
    # 4 tokens: 4·16 + 2·32 = 128 weights a block; scores and values 4·16·4; patches 3 · 12 · 4
    assert backbone_cost(sizes, 1, 3).forward == 2 * (2 * 4 * 128 + 4 * 16 * 4) + 2 * 3 * 12 * 4
    assert backbone_sizes(FeaturesConfig()) == BackboneSizes(4096, 40, 8192, gated=True)
    assert backbone_sizes(FeaturesConfig(backbone="descriptor")) is None
    (tmp_path / "config.json").write_text(
        json.dumps({"hidden_size": 8, "num_hidden_layers": 3, "intermediate_size": 16, "patch_size": 14})
    )
    assert backbone_sizes(FeaturesConfig(weights=str(tmp_path))) == BackboneSizes(8, 3, 16, False, 14, 1)
    with pytest.raises(ValueError, match=r"features.weights = 'someone/else'.*known \(vits16"):
        backbone_sizes(FeaturesConfig(weights="someone/else"))


def test_sizes_of_timms_backbones_are_those_of_its_networks(tmp_path):
    ensure_torchvision()
    import timm

    for name, sizes in TIMM.items():
        with torch.device("meta"):  # one block each
            model = timm.create_model(name, num_classes=0, depth=1)
        sizes = replace(sizes, blocks=1)
        assert sizes.width == model.embed_dim
        assert sizes.patch == model.patch_embed.patch_size[0]
        assert sizes.extra_tokens == model.num_prefix_tokens
        counted = (value.numel() for part in (model.blocks, model.patch_embed) for value in part.parameters())
        assert sizes.parameters == pytest.approx(sum(counted), rel=0.05)
    named = FeaturesConfig(backbone="timm", weights="vit_large_patch16_dinov3_qkvb.lvd1689m")
    assert backbone_sizes(named) == BackboneSizes(1024, 24, 4096, gated=False)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_base_patch14_reg4_dinov2"}))
    local = FeaturesConfig(backbone="timm", weights=str(tmp_path))
    assert backbone_sizes(local) == BackboneSizes(768, 12, 3072, False, 14, 5)
    with pytest.raises(ValueError, match=r"no size is known of vit_tiny; known are vit_small_patch16_dinov3"):
        backbone_sizes(FeaturesConfig(backbone="timm", weights="a/b/vit_tiny"))


def test_an_image_takes_what_a_block_holds():
    sizes = BackboneSizes(width=4, blocks=2, hidden=8, gated=False, patch=2, extra_tokens=1)
    # 4 tokens of 8 · 4 = 32 numbers and 3 patches of 12 in bfloat16; pixels and features in float32
    assert image_bytes(sizes, 3, precision="bfloat16") == 2 * (4 * 32 + 36) + 4 * (36 + 12)
    wide = BackboneSizes(width=4, blocks=2, hidden=16, gated=True, patch=2, extra_tokens=1)
    assert image_bytes(wide, 3, precision="float32") == 4 * (4 * 56 + 36) + 4 * (36 + 12)


def test_larger_cards_take_larger_backbones():
    table = memory_table(PAPER)
    rows = {row.split("|")[1].strip(): [cell.strip() for cell in row.split("|")[2:-1]] for row in table.splitlines()
            if row.startswith("| vit_")}  # fmt: skip
    assert rows["vit_7b_patch16_dinov3"] == ["4096", "13.4 GB", "–", "256", "256", "–", "1", "32"]
    for cells in rows.values():
        counts = [0 if cell == "–" else int(cell) for cell in cells[2:]]
        assert counts[:3] == sorted(counts[:3])
        assert counts[3:] == sorted(counts[3:])
    assert "8 GB: masks with up to vit_huge_plus_patch16_dinov3, joint with up to vit_base_patch16_dinov3" in table


def test_sizes_come_from_the_report_where_there_is_one(tmp_path):
    layout = RunLayout("tiny", str(tmp_path))
    report = Path(layout.data_report("static_train"))
    report.parent.mkdir(parents=True)
    scenes = {"expected": None, "found": 12, "taken": 12, "used": 11}
    written = {
        "image_size": 16,
        "scenes": scenes,
        "frames": {"used": 88},
        "reasons": {"too few frames": 1},
        "notes": [],
    }
    report.write_text(json.dumps(written), encoding="utf-8")
    sizes = split_sizes(TINY, layout)
    assert (sizes["static_train"].clips, sizes["static_train"].frames) == (11, 88)
    assert (sizes["dynamic_train"].clips, sizes["dynamic_train"].frames) == (6, 48)
    paper = split_sizes(PAPER, RunLayout("paper", str(tmp_path)))
    assert paper["dre10k_train"].clips == 15_467
    assert paper["dre10k_train"].frames == 147_422
    assert paper["re10k_calibration"].clips == 200
    assert paper["re10k_calibration"].origin == "200 clips (data.splits.limit), 140.0 frames per clip (assumed)"
    assert paper["dre10k_test"].frames == 1_541


def test_gpu_hours_follow_from_operations_and_rate(tmp_path):
    stages, _ = stages_of(PAPER, tmp_path)
    rates = gpu_rates(PAPER, share=0.5, rate=None)
    (one,) = forecast([stages["pretrain"]], rates)
    operations = stages["pretrain"].operations["bfloat16"]
    hours = operations / (0.5 * 989e12) / 3600
    assert one.gpu_hours == pytest.approx(hours, rel=0.01)
    assert one.job_seconds == pytest.approx(hours * 3600 / 4, rel=0.01)
    assert "50% (given)" in rates.assumptions[0]
    (twice,) = forecast([stages["pretrain"]], gpu_rates(PAPER, share=None, rate=989e12))
    assert twice.gpu_hours == pytest.approx(hours / 2, rel=0.01)


def test_an_unknown_gpu_is_refused_by_name():
    with pytest.raises(ValueError, match=r"compute.gpu_model = 'b9000'.*known: a100, h100, h200"):
        gpu_specs("b9000")


def test_cpu_times_add_products_and_the_rest():
    stage = PlannedStage("joint", jobs=2, threads=2, operations={"float32": 8e9}, core_seconds=6.0)
    (one,) = forecast([stage], Rates(None, {2: 1e9}, ()))
    # 8 s of two threads, and 6 core-seconds
    assert one.core_seconds == 22.0
    assert one.job_seconds == 22.0 / 2 / 2


def test_rates_measured_here_are_plausible():
    assert matmul_rate(seconds=0.0) > 1e6
    assert matmul_rate(seconds=0.0, cpu_time=True) > 1e8
    assert measured_step_rate(TINY, steps=1) > 1e5


def test_later_rounds_repeat_training_and_its_masks(tmp_path):
    once, _ = stages_of(TINY, tmp_path)
    twice, sizes = stages_of(TINY.model_copy(update={"rounds": 2}), tmp_path)
    assert twice["pretrain"] == once["pretrain"]
    for name in ("distill", "joint"):
        assert twice[name].jobs == 2 * once[name].jobs
        assert sum(twice[name].operations.values()) == pytest.approx(2 * sum(once[name].operations.values()))
    # masks that are scored are made in the last round alone
    more = twice["refine"].disk - once["refine"].disk
    assert more == pytest.approx(0.05 * sizes["dynamic_train"].frames * 24**2)


@pytest.mark.parametrize(
    ("changes", "refine"),
    [({}, 4), ({"refine": {"shards": 3}}, 7), ({"rounds": 2}, 5), ({"pseudo_masks": {"absolute_test": "off"}}, 4)],
)
def test_as_many_jobs_are_planned_as_the_workflow_has(tmp_path, changes, refine):
    raw = TINY.model_dump(mode="json")
    for name, value in changes.items():
        raw[name] = {**raw[name], **value} if isinstance(value, dict) else value
    options = [f"{name}={json.dumps(value)}" for name, value in changes.items()]
    config = ["--config", *options] if options else []
    jobs = Counter()
    for rule, count in planned(tmp_path, *config, "--", "all").items():
        if rule != "all":
            jobs["scores" if rule.startswith("score_") else RULES[rule.removeprefix("train_")]] += count
    stages, _ = stages_of(parse_config(raw, source="test"), tmp_path)
    assert {name: stage.jobs for name, stage in stages.items()} == jobs
    assert jobs["refine"] == refine


def test_a_loader_that_is_too_slow_is_named(tmp_path):
    stages, _ = stages_of(PAPER, tmp_path)
    (slow,) = loader_lines(PAPER, forecast([stages["pretrain"]], gpu_rates(PAPER, share=None, rate=1e12)))
    (fast,) = loader_lines(PAPER, forecast([stages["pretrain"]], gpu_rates(PAPER, share=None, rate=1e18)))
    assert "8 worker(s) configured" in slow
    assert "too few" not in slow
    assert "too few: raise pretrain.workers" in fast


def finished_run(folder):
    rows = {
        "distill/round1.tsv": "10.0",
        "score_views/a.tsv": "4.0",
        "score_views/b.tsv": "NA",
        "write_report/job.tsv": "1",
    }
    for name, cpu in rows.items():
        path = folder / "benchmarks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n20.0\t0:00:20\t100\t{cpu}\n")
    return folder


def test_comparison_reads_snakemakes_benchmarks(tmp_path):
    run = finished_run(tmp_path)
    assert measured(run) == {
        "distill": MeasuredCost(1, 20.0, 10.0),
        "scores": MeasuredCost(2, 40.0, 4.0),
        "tables": MeasuredCost(1, 20.0, 1.0),
    }
    stages = [PlannedStage("distill", jobs=1, core_seconds=5.0), PlannedStage("joint", jobs=1, core_seconds=7.0)]
    lines = squeezed(comparison(forecast(stages, Rates(None, {}, ())), run)).splitlines()
    assert lines[2:] == [
        "| distill | 1 | 1 | cores | 5 | 10 | 0.50 | 20 s |",
        "| joint | 1 | 0 | cores | 7 | | | |",
        "| total | | | cores | 5 | 10 | 0.50 | |",
        "- not in the forecast: scores, 2 job(s), 4 core-seconds",
        "- not in the forecast: tables, 1 job(s), 1 core-seconds",
    ]
    scores = PlannedStage("scores", jobs=1, core_seconds=3.0)
    (run / "benchmarks" / "score_views" / "a.tsv").write_text("s\th:m:s\tmax_rss\tcpu_time\n1.0\t0:00:01\t100\tNA\n")
    text = squeezed(comparison(forecast([scores], Rates(None, {}, ())), run))
    assert "| scores | 1 | 2 | cores | 3 | 0 | | 21 s |" in text
    with pytest.raises(ValueError, match="no benchmark files of Snakemake in benchmarks/"):
        measured(tmp_path / "nothing")


def test_gpu_stages_are_compared_in_walltime(tmp_path):
    stage = PlannedStage("distill", jobs=1, gpus=4, operations={"bfloat16": 320.0}, core_seconds=2.0)
    text = squeezed(comparison(forecast([stage], Rates({"bfloat16": 10.0}, {}, ())), finished_run(tmp_path)))
    # 320 operations on four GPUs of 10 per second, and two seconds before them, against 20 s
    assert "| distill | 1 | 1 | GPU jobs | 10 | 20 | 0.50 | 20 s |" in text
    assert "| total | | | GPU jobs | 10 | 20 | 0.50 | |" in text
    assert "| cores |" not in text


def test_a_run_in_parts_is_compared_with_its_stage(tmp_path):
    for rule, cpu in (("refine_masks", 1), ("refine_part", 2), ("join_masks", 4), ("residual_part", 8)):
        path = tmp_path / "benchmarks" / rule / "job.tsv"
        path.parent.mkdir(parents=True)
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n1.0\t0:00:01\t100\t{cpu}\n")
    assert measured(tmp_path) == {"refine": MeasuredCost(3, 3.0, 7.0), "residuals": MeasuredCost(1, 1.0, 8.0)}


def test_every_rule_with_a_benchmark_has_a_stage():
    text = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    named = set(re.findall(r'\.benchmark\(\s*"(\w+)"', text))
    assert {"distill", "refine_masks", "refine_part", "list_residuals"} <= named
    assert {name for name in named if name not in RULES and not name.startswith("score_")} == set()


def test_quantities_for_people():
    assert [duration(s) for s in (5.0, 600.0, 86_400.0, 864_000.0)] == ["5 s", "10 min", "24.0 h", "10.0 days"]
    assert [size(b) for b in (5e3, 2e6, 3.5e9, 1.2e12)] == ["5 kB", "2 MB", "3.5 GB", "1.2 TB"]


def test_the_command_prints_the_papers_plan(tmp_path):
    result = CliRunner().invoke(app, ["run", "plan", str(ROOT / "config" / "paper.yaml"), "--results", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for word in (
        "| pretrain | 1 | 4 |",
        "| residuals |",
        "| total |",
        "Assumptions:",
        "40% (assumed)",
        "megapixels per second; assumed",
        "core-seconds to start a job; stored frames take 65% with zstd, 25% with jpeg of their bytes; assumed",
        "dre10k_train",
    ):
        assert word in squeezed(result.output)
    missing = CliRunner().invoke(
        app, ["run", "plan", str(ROOT / "config" / "paper.yaml"), "--against", str(tmp_path / "no")]
    )
    assert missing.exit_code == 2
    assert "no benchmark files of Snakemake" in missing.output


def test_the_table_sums_its_stages():
    stages = [PlannedStage("a", jobs=2, core_seconds=7200.0, disk=1e9), PlannedStage("b", jobs=1, core_seconds=3600.0)]
    text = squeezed(cost_table(forecast(stages, Rates(None, {}, ()))))
    assert text.splitlines()[-1] == "| total | 3 | | 0.0 | 3.00 | | | 1 GB |"
