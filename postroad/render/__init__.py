"""The configuration as the daemons' own files, and how these are put in force."""
