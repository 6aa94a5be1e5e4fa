"""What is measured: each module drives one part of the suite and its baseline in turns."""
