"""Capacity of the suite: from the measured cost of a ride to the size of a deployment, and autoscaling by replay."""
