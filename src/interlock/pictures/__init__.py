"""Pictures of a space: the wait-for graph as DOT and SVG, and what a recorder saw as a trace."""
