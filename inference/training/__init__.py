"""Where the small bundled model comes from: its sentences, and the program that trains it."""
