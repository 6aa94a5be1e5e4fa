"""Pricing: what a ride costs, and who gets the campaign's discount."""
