"""What the quantities allow to say: comparability, validity, verdicts, findings."""
