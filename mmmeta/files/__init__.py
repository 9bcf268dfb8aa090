"""m.files, and one file: what a program asks for and gets."""
