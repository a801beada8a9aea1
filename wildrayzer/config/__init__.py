"""Configuration: frozen pydantic sections; the JSON schema and docs/config.md are generated from them."""

from wildrayzer.config.base import ConfigError
from wildrayzer.config.benchmark import BenchmarkConfig
from wildrayzer.config.data import (
    CocoConfig,
    DataConfig,
    EmbeddedConfig,
    EmbeddedSplit,
    SplitConfig,
    StoreConfig,
)
from wildrayzer.config.features import FeaturesConfig, PerceptualConfig
from wildrayzer.config.load import load_config, parse_config
from wildrayzer.config.masks import PseudoMasksConfig, RefineConfig, ResidualsConfig
from wildrayzer.config.model import ModelConfig, MotionHeadConfig
from wildrayzer.config.run import TRAINING_STAGES, ComputeConfig, RunConfig
from wildrayzer.config.training import CropPretextConfig, PasteConfig, StageConfig, ViewsConfig, control_stage
from wildrayzer.config.watch import HealthConfig, WatchConfig

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
