"""Experiments on the topology model: what follows from it, by the commands of `prebook`, and what it refuses."""
