"""Commands that change a deployment safely, against fakes."""
