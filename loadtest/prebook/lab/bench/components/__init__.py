"""Parts of the suite that run in processes of their own while they are measured."""
