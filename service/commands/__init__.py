"""What the subcommands of `sge-serve` do, one file a command.

Settings and a command's arguments come in; an exit code goes out. They print only through the
function that `cli` hands them.
"""
