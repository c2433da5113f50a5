"""Training of DropGen and Iris: loops short enough to read."""
