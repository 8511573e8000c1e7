"""The command line of facedistill: each command parses its call, makes one library call and prints the result."""
