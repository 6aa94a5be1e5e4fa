"""Booking: owns the ride that a rider has asked for, from request to outcome."""
