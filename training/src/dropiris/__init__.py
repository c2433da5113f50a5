"""DropGen and Iris: segmentation that holds up on scans no one trained for."""

__version__ = "0.1.0"
