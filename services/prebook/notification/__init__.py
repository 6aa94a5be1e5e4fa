"""Notification: gives the rider each notice once. An entry of the delivery log stands for the delivery."""
