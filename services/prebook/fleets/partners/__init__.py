"""The simulated partners: bytes in, after a while bytes out. They know their own words and none of ours."""
