"""The simulated partners: bytes in, after a while bytes out. They know nothing of our messages."""
