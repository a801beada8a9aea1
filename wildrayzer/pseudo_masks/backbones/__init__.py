"""Feature backbones: ViTs of transformers and timm, and a colour-and-gradient descriptor, behind one interface."""
