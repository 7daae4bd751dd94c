"""Physics tables and the script that builds them."""
