"""Matching: requests offers from the fleets and accepts the best one; never assigns a driver's slot twice."""
