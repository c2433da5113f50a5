"""How good predictions are: Dice, surface Dice (NSD) and HD95 per case and structure."""
