"""What is seen while a recording is read."""

from dataclasses import dataclass, field


@dataclass
class VideoNotes:
    """What was seen while a video was read; filled in as its frames are taken."""

    decoded: int = 0
    """Frames decoded."""
    seconds: float = 0.0
    """Time of the last decoded frame, from the first."""
    covered: float = 0.0
    """Time when that frame ends, from the first."""
    rotation: int = 0
    """Counter-clockwise turn in degrees that made the frames upright."""
    jumps: list[int] = field(default_factory=list)
    """Numbers, among the frames taken, of those with which another recording or shot begins."""
    gaps: int = 0
    """How often time stamps jump."""
    cuts: int = 0
    """How many cuts were found."""
    remarks: list[str] = field(default_factory=list)
    """Anything odd."""

    def remark(self, text: str) -> None:
        """Add a remark, once."""
        if text not in self.remarks:
            self.remarks.append(text)

    def remark_on_cuts(self) -> None:
        """Add a remark where there are cuts."""
        if self.cuts:
            self.remarks.append(f"{self.cuts} cuts: a new clip begins at each cut (--no-cuts ignores them)")
