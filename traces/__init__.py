"""The traces that ship with servecap: data, and the script that made it."""
