"""Scans whose tissues can be told apart by their intensity, so that no network is needed."""

import numpy as np

from dropiris.volume import Structure

STRUCTURES = (Structure(1, "soft tissue", (0.8, 0.4, 0.3)), Structure(3, "bone", (0.9, 0.9, 0.7)))


def chest():
    """(I, J, K): bone within soft tissue."""
    array = np.zeros((6, 7, 8), np.int16)
    array[1:5, 2:6, 2:5] = 150
    array[2:4, 3:5, 3:4] = 700
    return array


def pelvis():
    """(I, J, K): bone beside soft tissue, large enough to be looked at."""
    array = np.zeros((10, 12, 14), np.int16)
    array[1:5, 2:8, 2:8] = 150
    array[5:9, 3:9, 3:9] = 700
    return array


PELVIS = {"soft tissue": pelvis() == 150, "bone": pelvis() == 700}
