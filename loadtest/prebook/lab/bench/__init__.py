"""How close the parts of the suite are to what they stand on: each beside a yardstick that does the least possible.

Unlike the campaign, this looks from inside: a subject runs the suite's own classes, its yardstick the bare client, on
the same broker and database, in turns.
"""
