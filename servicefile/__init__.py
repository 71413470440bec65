"""A service file: where a service comes from, how it is started, and what it is asked."""
