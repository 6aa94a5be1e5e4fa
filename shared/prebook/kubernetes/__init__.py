"""Deployment on Kubernetes: manifests that follow from the model, and the check of all manifests against it."""
