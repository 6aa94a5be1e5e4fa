"""Several times the capacity for a minute, with back pressure on and off: what stays bounded, and who is told what."""
