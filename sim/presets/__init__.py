"""Shipped presets by name, and scenarios made of them without Hydra."""
