"""Envelopes in, envelopes out, exactly one effect each. Knows no transport and no database."""
