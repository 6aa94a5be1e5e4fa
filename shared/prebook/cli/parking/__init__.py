"""`prebook parking`: dead letters kept by the operations service."""
