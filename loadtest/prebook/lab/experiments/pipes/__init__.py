"""Experiments with pipes: stages with a bottleneck, and a push target with and without a limit."""
