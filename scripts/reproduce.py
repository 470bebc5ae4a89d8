"""Run an experiment of configs/: see winner_nerfstudio/cli/experiment.py."""

from winner_nerfstudio.cli.experiment import main

if __name__ == "__main__":
    main()
