"""Ablations: the run with a few options changed, sharing with it every stage before the first change."""

from typing import Any, Literal, get_args

from wildrayzer.config.base import Section

Until = Literal["residuals", "pseudo_masks", "refine", "distill", "masked", "joint"]
STAGES: tuple[str, ...] = get_args(Until)
"""Stages of a round, in order."""


class AblationConfig(Section):
    """One ablation: its results lie in results/NAME/ablations/ABLATION, and its target is `ablation_ABLATION`."""

    affects = "result"

    changes: dict[str, Any]
    """Options by their full name, such as `pseudo_masks.weighting`, with the value they get. Data and pretraining
    cannot be changed: they are shared."""
    until: Until = "joint"
    """Last stage that is run and scored."""
    splits: tuple[str, ...] = ()
    """Splits to score; empty takes all of the mask tables."""


def _one(until: Until, **changes: Any) -> AblationConfig:
    options = {name.replace("__", "."): value for name, value in changes.items()}
    return AblationConfig(changes=options, until=until)


BUILT_IN: dict[str, AblationConfig] = {
    "paste_only": _one("joint", distill__pseudo_masks=False, distill__dynamic_share=0.0, distill__paste_share=1.0,
                       joint__pseudo_masks=False),
    "pseudo_only": _one("joint", joint__paste_share=0.0),
    "dino_only": _one("pseudo_masks", pseudo_masks__weighting="fixed", pseudo_masks__dino_weight=1.0),
    "ssim_only": _one("pseudo_masks", pseudo_masks__weighting="fixed", pseudo_masks__dino_weight=0.0),
    "no_features": _one("distill", model__motion_head__use_features=False),
    "random_tokens": _one("joint", masked__token_mask="random"),
    "no_masked": _one("joint", masked=None),
    "two_rounds": _one("joint", rounds=2),
    "cross_view": _one("joint", model__motion_head__cross_view=True),
}  # fmt: skip
"""The paper's ablations, and the head across views; every run has them as targets. A run of the same name in
`ablations` replaces one."""
