"""Control: the calls of people and programs, and the replies."""
