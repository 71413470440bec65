"""From the files of an experiment to figures, doubts and one page."""
