"""Contracts between services: message and HTTP bodies as frozen, versioned data without behaviour or I/O."""
