"""Labelled datasets as others lay them out -> nnU-Net v2's raw layout: MSD, BIDS derivatives, DICOM, MONAI Label."""
