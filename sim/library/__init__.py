"""What ``import sim`` offers beyond one run: sizing, capacity, decisions, traces and frames, without Hydra and files."""
