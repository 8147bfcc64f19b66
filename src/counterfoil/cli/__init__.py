"""The command line: assembles and runs; decides nothing."""
