"""Rendering of the overlays, as far as the manifests in ``deploy/kubernetes`` need Kustomize."""
