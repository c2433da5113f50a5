"""nnU-Net datasets, windows at a working spacing, episodes and patches. For researchers; never imported by Slicer."""
