"""The notifier: a program that sends one notice and exits, and its channels (docs/notices.md).

`main` reads the notice, calls the channel and prints the result. Begin with `main`.
"""
