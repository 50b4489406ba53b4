"""What users of PyTorch write, at its best, for comparison."""
