"""DeepDRR (GPL-3) as a renderer: called at run time in a process and an environment of its own; nothing of it is part of this project."""
