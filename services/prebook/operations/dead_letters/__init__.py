"""Dead letters: record, failure groups, storage, metrics and API."""
