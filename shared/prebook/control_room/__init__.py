"""The control room: a web page, served by the console, that shows a running suite and acts on it."""
