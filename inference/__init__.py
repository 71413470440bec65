"""The sentiment service: one text in, one label out, and how long that took."""
