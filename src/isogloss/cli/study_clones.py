"""x."""
def add_clones(verbs): pass
