"""The experiment: its plan, its rounds, and the record that it writes."""
