"""The campaign: one scenario after the other, in every plan, under open-loop load."""
