"""The broker and the database that a suite runs on: found, started as private parts, and stopped again."""
