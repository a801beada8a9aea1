"""Copy-paste augmentation: cut-outs and how they are laid over frames."""
