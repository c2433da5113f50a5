"""What both panels share, written once: a run and its controls, the one worker, the choice of device.

It lives in the package, not beside one module: dropiris is installed once for both, so neither module needs the
other. Files that import Qt say so; everything here runs inside Slicer and none of it imports torch.
"""
