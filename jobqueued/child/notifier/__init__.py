"""The notifier: a program that sends one notice and exits, and its channels (docs/notices.md)."""
