"""The fleet: servers that come, serve, scale, fail and go, and what they cost.

Read from the ground up: ``machine``, ``server``, ``endpoints`` (what a gateway sees), ``roster`` (who exists; no policy);
``blueprint``, ``factory``, ``placement``, ``coming``, ``going``, ``pool`` (the life cycle); ``spot``, ``failures``,
``outages``, ``timeline``, ``rollout``, ``background``, ``closing`` and ``scaling`` (who want it otherwise); ``fleet`` puts
them together; ``books`` and ``prices`` write the bill.
"""
