"""Notification: notifies the rider once. The delivery log stands for the delivery."""
