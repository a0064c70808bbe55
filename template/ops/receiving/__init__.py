"""The receiver: takes Clair's notifications, fetches what they report, sends it on to people and systems.

Runs alone in a container (`python3 -m receiver`, Python >= 3.11, standard library only). Commands of the host import `read_fixed` and, with
Python >= 3.11, `read_settings`.
"""
