"""What decides in this template: facts in data/, pure rules over them, and one thin class that raises."""
