"""Autoscalers: how many servers a pool should have, and the loop that asks."""
