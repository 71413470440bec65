"""The inference engines: how the model's answers are computed."""
