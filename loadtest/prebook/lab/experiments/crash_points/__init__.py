"""Crashes every service at every crash point of the code, alone and in pairs, while rides are booked."""
