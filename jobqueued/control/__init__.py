"""Control: the questions and orders of people and programs, and the answers."""
