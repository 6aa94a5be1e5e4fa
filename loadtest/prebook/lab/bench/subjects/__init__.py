"""What is measured: each module drives one part of the suite and its yardstick in turns."""
