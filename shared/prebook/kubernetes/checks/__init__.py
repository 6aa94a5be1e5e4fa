"""Checks of rendered manifests. Each step returns all of its findings, and none needs a cluster."""
