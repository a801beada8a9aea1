"""Configuration: frozen pydantic sections; the JSON schema and docs/config.md are generated from them."""

from wildrayzer.config.base import ConfigError
from wildrayzer.config.load import load_config, parse_config
from wildrayzer.config.sections.benchmark import BenchmarkConfig
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
from wildrayzer.config.sections.run import TRAINING_STAGES, ComputeConfig, RunConfig
from wildrayzer.config.sections.training import CropPretextConfig, PasteConfig, StageConfig, ViewsConfig, control_stage
from wildrayzer.config.sections.watch import HealthConfig, WatchConfig

__all__ = [
    "TRAINING_STAGES",
    "BenchmarkConfig",
    "CocoConfig",
    "ComputeConfig",
    "ConfigError",
    "CropPretextConfig",
    "DataConfig",
    "EmbeddedConfig",
    "EmbeddedSplit",
    "FeaturesConfig",
    "HealthConfig",
    "ModelConfig",
    "MotionHeadConfig",
    "PasteConfig",
    "PerceptualConfig",
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
