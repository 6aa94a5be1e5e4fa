"""The four couplings: one adapter each, one table, and the doors on the provider's side."""
