"""x."""
def add_layers(verbs): pass
