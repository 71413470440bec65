"""From frames to quantities."""
