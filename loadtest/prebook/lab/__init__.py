"""The campaign: offers rides to a running suite over the wire, breaks it on purpose, and settles the accounts."""
