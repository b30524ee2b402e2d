"""Records: the columns that a run leaves behind, and the recorder that fills them."""

from sim.record.recorder import Recorder
from sim.record.result import ANSWERED, OUTCOMES, ItlHistogram, Result

__all__ = ["ANSWERED", "OUTCOMES", "ItlHistogram", "Recorder", "Result"]
