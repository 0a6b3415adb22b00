"""x."""
def add_methods(verbs): pass
