"""The least that does the work: bare clients, nothing that keeps it right when something breaks."""
