"""What services say to each other: frozen data, versioned, in one place, without behaviour or I/O."""
