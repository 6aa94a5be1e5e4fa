"""Experiment with the content enricher: a profile store that is killed, and lookups inside the transaction."""
