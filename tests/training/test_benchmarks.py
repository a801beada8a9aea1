"""The benchmarks of the training engine compare like with like."""

import sys
from pathlib import Path

import pytest
import torch
import yaml

from wildrayzer.config import ModelConfig, parse_config
from wildrayzer.models import WildRayZer

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import attention_kernels
import gpu_report
import systems
import training_step
from released_step import ReleasedRenderer, released_update

CONFIG = ModelConfig(
    image_size=16, patch_size=4, width=32, head_width=16, camera_blocks=2, scene_blocks=2, decoder_blocks=2,
    scene_tokens=5, motion_head=None, view_type_embedding=True,
)  # fmt: skip


def stirred_model():
    """Weights large enough that poses, attention and rendering matter."""
    torch.manual_seed(0)
    model = WildRayZer(CONFIG)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("recompute", [True, False])
def test_the_reference_renders_and_learns_the_same(recompute):
    model = stirred_model()
    images = torch.rand(2, 5, 3, 16, 16)
    target = torch.rand(2, 3, 3, 16, 16)
    gradients = []
    renderings = []
    for run in (lambda: ReleasedRenderer(model, recompute=recompute)(images, 2), lambda: model(images, 2).render):
        model.zero_grad()
        renderings.append(run())
        (renderings[-1] - target).square().mean().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(renderings[0], renderings[1], atol=1e-5, rtol=1e-4)
    assert renderings[0].std() > 0.05
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-6, rtol=1e-3, msg=name)


def test_every_row_of_the_systems_is_a_network_that_can_be_trained():
    demo = yaml.safe_load((Path(__file__).parents[2] / "config" / "demo.yaml").read_text(encoding="utf-8"))
    raw = systems.renderer_alone(demo)
    rows = {(group, name): parse_config(systems.variant(raw, changes)).model
            for group, members in systems.GROUPS.items() for name, changes in members.items()}  # fmt: skip
    assert len({model.model_dump_json() for model in rows.values()}) == len(rows) == 16
    names = ("camera_attention", "camera_head", "patch_positions", "token_fusion", "image_range", "output_norm")
    shown = {f"{name}: {getattr(model, name)}" for model in rows.values() for name in names}
    assert {"camera_attention: alternating", "camera_head: pi3", "patch_positions: rope2d", "token_fusion: pixel",
            "token_fusion: residual", "image_range: unit", "output_norm: plain"} <= shown  # fmt: skip
    assert {model.width for model in rows.values()} == {96}


def test_the_reference_refuses_another_architecture():
    model = WildRayZer(CONFIG.model_copy(update={"decoder_attention": "cross"}))
    with pytest.raises(ValueError, match="take the defaults of `model`"):
        ReleasedRenderer(model)


def test_the_reference_zeroes_broken_gradients():
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.tensor([float("nan"), float("inf"), 1.0])
    released_update(torch.optim.SGD([weight], lr=0.5), [weight], 10.0)
    assert weight.tolist() == [1.0, 1.0, 0.5]


def test_levers_are_named_once_and_the_first_is_the_reference():
    found = training_step.variants("cpu", {"bf16", "compile"})
    assert found[0].released
    assert len({variant.name for variant in found}) == len(found) == 7


def test_the_search_finds_the_largest_that_fits():
    assert training_step.bisect(lambda batch: batch <= 13) == 13
    assert training_step.bisect(lambda batch: False) == 0


def test_kernels_agree_with_the_exact_result():
    q, k, v, gradient = (torch.randn(2, 9, 2, 8) for _ in range(4))
    found = attention_kernels.kernels(torch.device("cpu"), torch.float32, 8)
    assert {"math", "flash"} <= set(found)
    exact = attention_kernels.both_passes(found["math"], *(part.double() for part in (q, k, v, gradient)))
    scores = torch.einsum("bnhc,bmhc->bhnm", q.double(), k.double()) / 8**0.5
    torch.testing.assert_close(exact[0], torch.einsum("bhnm,bmhc->bnhc", scores.softmax(-1), v.double()))
    for kernel in found.values():
        for ours, wanted in zip(attention_kernels.both_passes(kernel, q, k, v, gradient), exact, strict=True):
            assert attention_kernels.difference(ours, wanted) < 1e-5


def python_part(name, code, seconds=30.0):
    return gpu_report.Part(name, f"Part {name}", seconds, [sys.executable, "-c", code])


def test_the_report_of_a_gpu_grows_part_by_part(tmp_path):
    slow = python_part("slow", "import time; print('begun', flush=True); time.sleep(60)", seconds=0.5)
    parts = [python_part("good", "print('seen')"), python_part("bad", "raise SystemExit(3)"), slow]
    outcomes = []
    for part in parts:
        outcomes.append(gpu_report.run(part, tmp_path, left=30.0))
        gpu_report.write_report(tmp_path, outcomes)
        assert f"## Part {part.name}" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert [one.state for one in outcomes] == ["finished", "failed (exit code 3)", "stopped at its limit"]
    assert outcomes[2].seconds < 20
    assert "seen" in (tmp_path / "report.md").read_text(encoding="utf-8")
    late = gpu_report.run(parts[0], tmp_path, left=0.0)
    assert (late.state, late.seconds) == ("left out: no time left", 0.0)


@pytest.mark.parametrize("tiny", [True, False])
def test_parts_of_the_report_name_options_that_their_scripts_have(tmp_path, tiny):
    parts = gpu_report.planned_parts(tmp_path, tiny=tiny)
    assert parts[0].name == "rates"
    assert parts[-1].name == "workflow"
    config = parse_config(yaml.safe_load((tmp_path / "workflow.yaml").read_text(encoding="utf-8")))
    assert config.pretrain.steps <= 20
    for part in parts[:-1]:
        script = next(Path(word) for word in part.command if word.endswith(".py"))
        text = script.read_text(encoding="utf-8")
        options = part.command[part.command.index(str(script)) + 1 :]
        assert [word for word in options if word.startswith("--") and f'"{word}"' not in text] == []
