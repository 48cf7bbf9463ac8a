"""What the subcommands of `sge-serve` do."""
