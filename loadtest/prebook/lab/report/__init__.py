"""The campaign report: its model, its verdict in plain words, and its HTML form."""
