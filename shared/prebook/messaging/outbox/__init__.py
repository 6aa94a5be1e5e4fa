"""Transactional outbox: rows are written with the business transaction and sent by the relay.

Source: Transactional Outbox.
"""
