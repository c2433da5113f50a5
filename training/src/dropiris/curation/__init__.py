"""What is wrong or odd in a labelled dataset, found before it is trained or evaluated on."""
