"""Pricing: quotes fares and grants the campaign's discounts."""
