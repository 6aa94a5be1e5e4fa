"""Dead letters: record, list, edit, discard."""
