"""A booking and its life; nothing here looks outside."""
