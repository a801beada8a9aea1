"""The version of every stage: raised when a change of code changes what the stage gives.

Results of another version are made again, because the version is among the params of the stage's rules. Changes that
leave the results as they are, such as a moved file or a faster loop, redo nothing.
"""

from types import MappingProxyType

STAGE_VERSIONS = MappingProxyType(
    {
        "embedded": 1,
        "frames": 1,
        "windows": 1,
        "train": 3,
        "residuals": 2,
        "pseudo_masks": 1,
        "refine": 1,
        "score_views": 5,
        "score_masks": 2,
        "score_input_masks": 3,
        "score_renderer": 4,
        "tables": 2,
        "report": 2,
    }
)
