"""Random faults from the whole catalogue under load, and a judgement of what became of every booking."""
