"""`prebook generate`: write every file of a checkout that follows from the model, or name those that differ."""
