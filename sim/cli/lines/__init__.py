"""A server's own command line as configuration, and configuration as a server's command line.

``words`` cuts a line into options, ``vllm`` and ``others`` say what each option is here (modelled, without effect, not
modelled), ``translate`` joins them, ``apply`` puts the result under what the user states besides.
"""

from sim.cli.lines.apply import with_line
from sim.cli.lines.translate import Translation, translate

__all__ = ["Translation", "translate", "with_line"]
