"""Load shedding at the edge: refuse new bookings before queues grow without bound."""
