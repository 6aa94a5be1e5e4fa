"""Notification: tells the rider, once. The delivery log is the effect."""
