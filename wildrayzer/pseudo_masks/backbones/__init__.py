"""Feature backbones: DINOv3 and a colour-and-gradient descriptor, behind one interface."""
