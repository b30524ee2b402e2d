"""What Hydra finds as ``hydra_plugins.servecap``: the sweeper."""
