"""Recovery from a message that could not be handled: retry, pause, block its key, or dead-letter it."""
