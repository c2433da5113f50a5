"""``python -m dropiris.cli``, where the console script is not on the path."""

from dropiris.cli.main import main

main()
