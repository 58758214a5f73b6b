"""The command line: typer and rich; errors become exit codes."""
