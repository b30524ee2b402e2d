"""What load generators and servers report of a run: means under a stated load, one file a producer."""

from sim.measured.aggregate import Aggregate, Load, checked
from sim.measured.recognise import aggregates_in, names_a_result

__all__ = ["Aggregate", "Load", "aggregates_in", "checked", "names_a_result"]
