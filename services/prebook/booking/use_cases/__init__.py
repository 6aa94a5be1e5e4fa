"""Use cases of a rider: book a ride, cancel a booking."""
