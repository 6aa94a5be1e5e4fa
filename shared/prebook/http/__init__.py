"""HTTP adapters: the client for the couplings, the doors, problems, health."""
