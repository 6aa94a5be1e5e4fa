"""Experiments on duplicates: effects outside of the transaction, and the window of a sender's deduplication."""
