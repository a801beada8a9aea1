"""Configuration: frozen pydantic sections; the JSON schema and docs/config.md are generated from them."""

from wildrayzer.config.base import ConfigError
from wildrayzer.config.load import load_config, parse_config
from wildrayzer.config.sections.benchmark import BenchmarkConfig
from wildrayzer.config.sections.compute import ComputeConfig
from wildrayzer.config.sections.data import (
    CocoConfig,
    DataConfig,
    EmbeddedConfig,
    EmbeddedSplit,
    SplitConfig,
    StoreConfig,
)
from wildrayzer.config.sections.features import FeaturesConfig, PerceptualConfig
from wildrayzer.config.sections.masks import PseudoMasksConfig, RefineConfig, ResidualsConfig
from wildrayzer.config.sections.model import ModelConfig, MotionHeadConfig
from wildrayzer.config.sections.paste import PasteConfig
from wildrayzer.config.sections.run import RunConfig
from wildrayzer.config.sections.stages import (
    TRAINING_STAGES,
    DistillConfig,
    JointConfig,
    MaskedConfig,
    PretrainConfig,
    StageConfig,
    control_stage,
)
from wildrayzer.config.sections.training import CropPretextConfig
from wildrayzer.config.sections.views import CurriculumConfig, ViewsConfig
from wildrayzer.config.sections.watch import HealthConfig, WatchConfig

__all__ = [
    "TRAINING_STAGES",
    "BenchmarkConfig",
    "CocoConfig",
    "ComputeConfig",
    "ConfigError",
    "CropPretextConfig",
    "CurriculumConfig",
    "DataConfig",
    "DistillConfig",
    "EmbeddedConfig",
    "EmbeddedSplit",
    "FeaturesConfig",
    "HealthConfig",
    "JointConfig",
    "MaskedConfig",
    "ModelConfig",
    "MotionHeadConfig",
    "PasteConfig",
    "PerceptualConfig",
    "PretrainConfig",
    "PseudoMasksConfig",
    "RefineConfig",
    "ResidualsConfig",
    "RunConfig",
    "SplitConfig",
    "StageConfig",
    "StoreConfig",
    "ViewsConfig",
    "WatchConfig",
    "control_stage",
    "load_config",
    "parse_config",
]
