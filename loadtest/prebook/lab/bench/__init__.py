"""Benchmarks of the suite's parts: each part against a baseline that does the least possible with the same clients.

Unlike the campaign, this looks from inside: a subject runs the suite's own classes, its baseline the bare client, on
the same broker and database, in turns.
"""
