"""Booking: owns the ride that a rider has requested, from request to outcome."""
