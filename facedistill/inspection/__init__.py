"""Whether a folder of face crops is fit for training and evaluation."""
