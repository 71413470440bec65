"""Speed claims, as ratios measured side by side in one run: each script can be run by anyone."""
