"""x."""
def add_vocabulary(verbs): pass
