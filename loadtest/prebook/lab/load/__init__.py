"""Load generation: rides, arrival times, plans, requests, and one sample per rider."""
