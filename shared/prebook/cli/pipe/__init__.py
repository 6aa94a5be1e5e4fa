"""`prebook pipe`: a feed of confirmed rides to a city authority, pulled from a queue and pushed over HTTP."""
