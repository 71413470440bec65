"""From the files of an experiment to records and frames."""
