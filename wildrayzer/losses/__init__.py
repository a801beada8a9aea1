"""Losses of the training stages."""

from wildrayzer.losses.motion import MotionLoss, motion_bce, psnr_filter
from wildrayzer.losses.perceptual import PerceptualLoss, build_perceptual
from wildrayzer.losses.photometric import PhotometricLoss, gated_mse

__all__ = [
    "MotionLoss",
    "PerceptualLoss",
    "PhotometricLoss",
    "build_perceptual",
    "gated_mse",
    "motion_bce",
    "psnr_filter",
]
