"""Subjects of the bench: each module measures one part of the suite and its baseline in interleaved rounds."""
