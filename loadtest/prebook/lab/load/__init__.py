"""Who asks for rides: which rides, when, in which plans, and what the riders saw."""
