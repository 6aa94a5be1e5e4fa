"""Messaging core: receives and sends envelopes, each with exactly one effect. Knows no transport and no database."""
