"""Matching: asks the fleets for a driver and takes the best offer; never gives a driver's slot twice."""
