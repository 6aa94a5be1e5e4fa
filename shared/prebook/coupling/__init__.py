"""The four couplings: one channel each, the table of channels, and the inbound gateway of the provider."""
