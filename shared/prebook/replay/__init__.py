"""The archive of events: what lies in it, what of it is wanted again, and by whom. No I/O."""
