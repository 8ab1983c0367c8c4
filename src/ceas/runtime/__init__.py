"""The training loop: one-process co-simulation of network, learning, agreement and aggregation, with checkpoints."""

__all__: list[str] = []
