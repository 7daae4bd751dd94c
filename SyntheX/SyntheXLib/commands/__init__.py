"""The commands of the command line, one file each: `add` declares the options, `run` calls one library function and prints."""
