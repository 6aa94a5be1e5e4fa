"""The variability matrix: one side of a running flow is changed, and the consequences are counted in rides."""
