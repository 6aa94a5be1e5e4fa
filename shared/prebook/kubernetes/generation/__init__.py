"""Manifests that follow from the model, as documents."""
