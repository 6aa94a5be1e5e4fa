"""Parts of the suite, assembled without the rest and run in separate processes to be measured."""
