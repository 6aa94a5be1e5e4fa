"""Experiment: replies of partner fleets in their own formats, some of them unreadable, while fleets is killed."""
