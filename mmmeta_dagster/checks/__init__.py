"""The asset checks of a metadir: what is unhealthy although every run succeeds.

``build`` says which checks there are and runs them, ``looks`` has what each one looks at and what it says.
"""
