"""A page in the browser on which a scenario is turned knob by knob (extra ``[web]``); beside ``cli``, above all rooms."""
