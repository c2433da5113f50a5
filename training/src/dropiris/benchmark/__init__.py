"""The papers' experiments as grids: methods, datasets and seeds of DropGen, strategies and references of Iris."""
