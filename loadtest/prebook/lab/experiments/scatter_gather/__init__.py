"""Experiment: auctions among partner fleets over HTTP, while one of them fails and services are killed."""
