"""One check per file; `analysis.registry` lists them and says how to add one."""
